"""What a finished run leaves: the chosen model, its evaluation at every site, and the summary."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import progress
from common.atomic import write_bytes, write_text
from common.configuration import RunConfig, task_of, to_yaml
from common.packing import Tensors, to_bytes
from common.protocol import Estimate, EvaluateTask
from server import checkpoint as checkpoints
from server.checkpoint import path_of
from server.history import RoundRecord, best_round
from server.rounds import Federation, evaluate


def prior_log_odds(record: RoundRecord, balanced: bool) -> float:
    r"""Shift of the logits that undoes class-balanced sampling, :math:`\log\frac{\pi}{1-\pi}`.

    :math:`\pi` is the share of malignant breasts among all training breasts of the round.
    Source: Saerens, Latinne & Decaestecker 2002, Neural Computation 14:21, equation 2.4.
    """
    if not balanced:
        return 0.0
    malignant = sum(site.malignant for site in record.train.values())
    others = sum(site.breasts for site in record.train.values()) - malignant
    return math.log(malignant / others) if malignant and others else 0.0


def publish(federation: Federation, records: list[RoundRecord]) -> None:
    """Choose the model, let every site measure it, and write the run's results.

    Writes ``model.safetensors`` and ``evaluation.json``.
    """
    config, folder = federation.config, federation.folder
    number, rule = best_round(records, config.federation.selection)
    model = checkpoints.load(path_of(folder, number), config).model
    balanced = config.task == "classifier" and config.training.balanced_sampling and config.privacy.unit == "none"
    shift = prior_log_odds(records[number - 1], balanced)
    write_model(folder / "model.safetensors", model, config, number, shift)
    progress.say(f"publishing the model of round {number} ({rule}); every site now measures it on its test patients")
    evaluation: dict[str, Any] = {"round": number, "rule": rule, "prior_log_odds": shift, "quarantined": []}
    for role, sites, split in (("sites", config.sites, "test"), ("unseen", config.unseen, "all")):
        task = EvaluateTask(to_yaml(task_of(config)), number, config.seed, split, shift, final=True)
        reports, bad = evaluate(federation, model, sites, task, records[:number]) if sites else ({}, [])
        evaluation[role] = {site: asdict(report) for site, report in reports.items()}
        evaluation["quarantined"] += [asdict(item) for item in bad]
        for site, report in reports.items():
            froc = f"  mean sensitivity {_text(report.froc.mean_per_lesion)}" if report.froc else ""
            own = f"  personal model {_text(report.personal.auc)}" if report.personal else ""
            progress.say(f"  {site:12} AUC {_text(report.auc)}{froc}{own}  {report.patients} patients")
    write_text(folder / "evaluation.json", json.dumps(evaluation, indent=1))


def _text(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "not defined (one class only)"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def write_model(path: Path, model: Tensors, config: RunConfig, number: int, shift: float) -> None:
    """Write the model with all that is needed to use it elsewhere; no times, so equal runs give equal files."""
    metadata = {
        "format": "xai-federation/1",
        "task": to_yaml(task_of(config)),
        "round": str(number),
        "prior_log_odds": repr(shift),
        "preprocessing_version": str(config.imaging.version),
    }
    write_bytes(path, to_bytes(model, metadata))
