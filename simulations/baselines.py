"""What federation is compared with: each site alone, and all data pooled in one place.

Both get the same model, the same settings and as many epochs as the federation has rounds times
local epochs, and are tested on every site's test patients.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from client.evaluation import estimate
from client.inference import predict
from client.site import Site, load_site
from client.training import Round, train
from common import progress
from common.atomic import write_text
from common.configuration import RunConfig
from common.data.dataset import SiteData, merge
from common.metrics.classification import auc, delong_interval
from common.models.classifier import BreastClassifier
from common.packing import Tensors
from common.protocol import Estimate
from server.app import initial_model

Table = dict[str, dict[str, float | None]]


def run_baselines(config: RunConfig, sites: dict[str, Site], unseen: dict[str, Site], folder: Path) -> None:
    """Train and test the baselines of ``config.baselines``; writes ``baselines.json``.

    Each finished one is kept in ``baselines/``, so that a killed run does not begin again.
    """
    if not config.baselines:
        return
    data = {name: load_site(site, config) for name, site in sites.items()}
    tests = {name: part.of_split("test") for name, part in data.items()}
    tests |= {name: load_site(site, config) for name, site in unseen.items()}
    result: dict[str, Table | dict[str, Table]] = {}
    if "local" in config.baselines:
        result["local"] = {
            name: _baseline(config, f"local-{name}", [part], tests, folder)
            for name, part in data.items()
            if _both_classes(part)
        }
    if "pooled" in config.baselines:
        result["pooled"] = _baseline(config, "pooled", list(data.values()), tests, folder)
    write_text(folder / "baselines.json", json.dumps(result, indent=1))


def _both_classes(part: SiteData) -> bool:
    """Whether the site can train alone; in the federation its refusal is put into quarantine each round."""
    if len(set(part.of_split("train").targets.tolist())) == 2:
        return True
    progress.say(f"local-{part.site}: left out, its training patients are all of one class")
    return False


def _baseline(config: RunConfig, name: str, parts: list[SiteData], tests: dict[str, SiteData], folder: Path) -> Table:
    file = folder / "baselines" / f"{name}.json"
    if file.exists():
        kept: Table = json.loads(file.read_text())
        return kept
    model = train_centrally(config, name, parts)
    table = {site: _interval(config, model, part, name) for site, part in tests.items()}
    write_text(file, json.dumps(table, indent=1))
    progress.say(f"{name:12} AUC  " + "  ".join(f"{site} {_text(row['value'])}" for site, row in table.items()))
    return table


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def train_centrally(config: RunConfig, name: str, parts: list[SiteData]) -> BreastClassifier:
    """Train on the merged training patients; the run's rule chooses the epoch on the parts' validation patients."""
    merged = merge([part.of_split("train") for part in parts])
    validation = [part.of_split("validation") for part in parts]
    model = initial_model(config)
    rounds = config.federation.rounds
    best: tuple[float, Tensors] | None = None
    with progress.track(f"{name}: epochs", rounds) as advance:
        for number in range(1, rounds + 1):
            train(model, merged, config, Round(number, rounds, config.seed, name))
            if config.federation.selection == "validation_auc":
                score = _mean_auc(config, model, validation, name)
                if score is not None and (best is None or score >= best[0]):
                    best = score, {key: value.detach().clone() for key, value in model.state_dict().items()}
            advance(1)
    if best is not None:
        model.load_state_dict(best[1])
    return model


def _mean_auc(config: RunConfig, model: BreastClassifier, parts: list[SiteData], name: str) -> float | None:
    values = []
    for part in parts:
        if part.breasts:
            value = auc(part.targets, predict(model, part, config.training, f"{name}: validation"))
            if value == value:
                values.append(value)
    return sum(values) / len(values) if values else None


def _interval(config: RunConfig, model: BreastClassifier, part: SiteData, name: str) -> dict[str, float | None]:
    if not part.breasts:
        return asdict(Estimate(None))
    logits = predict(model, part, config.training, f"{name}: testing on {part.site}")
    return asdict(estimate(delong_interval(part.targets, logits, config.evaluation.confidence)))
