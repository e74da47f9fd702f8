"""``summary.json``: the run's results under stable keys that tools may rely on (docs/architecture.md)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from common.atomic import write_text
from common.configuration import RunConfig
from common.metrics.froc import RATES
from server.aggregation.central import DELTA, epsilon_of_rounds
from server.history import RoundRecord


def summarise(
    config: RunConfig, records: list[RoundRecord], evaluation: dict[str, Any], baselines: dict[str, Any] | None
) -> dict[str, Any]:
    """Condense a run.

    Args:
        config: what ran.
        records: its rounds.
        evaluation: content of ``evaluation.json``.
        baselines: content of ``baselines.json``, if there is one.
    """
    sites = {name: _site(report) for name, report in evaluation["sites"].items()}
    unseen = {name: _site(report) for name, report in evaluation["unseen"].items()}
    aucs = {name: site["auc"] for name, site in sites.items() if site["auc"] is not None}
    worst = min(aucs, key=lambda name: aucs[name]) if aucs else None
    train = sum(site.seconds for record in records for site in record.train.values())
    everyone = [*evaluation["sites"].values(), *evaluation["unseen"].values()]
    total = sum(record.seconds for record in records)
    evaluating = sum(report["seconds"] for report in everyone)
    return {
        "task": config.task,
        "method": config.method.name,
        "seed": config.seed,
        "rounds": len(records),
        "chosen_round": evaluation["round"],
        "sites": sites,
        "mean_auc": fmean(aucs.values()) if aucs else None,
        "worst_site": worst,
        "worst_site_auc": aucs[worst] if worst else None,
        "spread_auc": max(aucs.values()) - min(aucs.values()) if aucs else None,
        "unseen": unseen,
        "explanations": {
            name: {method: _explanation(score) for method, score in report["explanations"].items()}
            for name, report in (evaluation["sites"] | evaluation["unseen"]).items()
        },
        "froc": {
            name: _froc(report["froc"])
            for name, report in (evaluation["sites"] | evaluation["unseen"]).items()
            if report.get("froc")
        },
        "baselines": baselines or {},
        "privacy": spent(records),
        "central_privacy": central(config, len(records)),
        "seconds": {"total": total + evaluating, "train": train, "evaluate": evaluating},
        "bytes_sent": sum(record.bytes_sent for record in records),
        "bytes_received": sum(record.bytes_received for record in records),
    }


def spent(records: list[RoundRecord]) -> dict[str, dict[str, Any]]:
    """What the run has cost each site's patients: what the site said with its last update that was used.

    Every update has left its site, so it counts, whichever round's model is published.
    """
    last = {name: site.privacy for record in records for name, site in record.train.items() if site.privacy}
    return {name: asdict(found) for name, found in last.items()}


def central(config: RunConfig, rounds: int) -> dict[str, Any] | None:
    """What the server's noise promises a whole site; ``None`` where it adds none."""
    noise = config.method.central_noise_multiplier
    if not noise:
        return None
    return {"epsilon": epsilon_of_rounds(noise, rounds), "delta": DELTA, "unit": "site"}


def _site(report: dict[str, Any]) -> dict[str, Any]:
    auc, sensitivity = report["auc"], report["sensitivity"]
    return {
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "patients": report["patients"],
        "breasts": report["breasts"],
        "malignant": report["malignant"],
        "sensitivity": sensitivity["value"],
        "sensitivity_low": sensitivity["low"],
        "sensitivity_high": sensitivity["high"],
        "brier": report["brier"]["value"],
        "calibration_error": report["calibration_error"],
    }


def _explanation(score: dict[str, Any]) -> dict[str, Any]:
    """Figures of one method at one site; keys of older evaluations may be missing."""
    quality, ahead = score.get("quality") or {}, score.get("ahead", {})
    return {
        "pointing_game": score["pointing_game"]["value"],
        "energy_in_box": score["energy_in_box"]["value"],
        "views": score["views"],
        "gap": score.get("gap"),
        "randomised": score.get("randomised", {}).get("value"),
        "beats_controls": {
            measure: all((lead["low"] or 0.0) > 0.0 for lead in leads.values()) for measure, leads in ahead.items()
        },
        "quality": {name: item if name == "views" else item["value"] for name, item in quality.items()},
        "agreement": {other: item["value"] for other, item in score.get("agreement", {}).items()},
    }


def _froc(curve: dict[str, Any]) -> dict[str, Any]:
    """Sensitivity at the stated rates of false positives an image, per lesion and per breast, and their means."""
    rates = curve["false_positives"]

    def at(points: list[dict[str, Any]], key: str) -> dict[str, Any]:
        return {f"{rate:g}": points[rates.index(rate)][key] for rate in RATES}

    return {
        "lesions": curve["lesions"],
        "images": curve["images"],
        "sensitivity_at": at(curve["per_lesion"], "value"),
        "sensitivity_low": at(curve["per_lesion"], "low"),
        "sensitivity_high": at(curve["per_lesion"], "high"),
        "breast_sensitivity_at": at(curve["per_breast"], "value"),
        "mean": curve["mean_per_lesion"]["value"],
        "mean_low": curve["mean_per_lesion"]["low"],
        "mean_high": curve["mean_per_lesion"]["high"],
    }


def write_summary(folder: Path, config: RunConfig, records: list[RoundRecord]) -> dict[str, Any]:
    """Write ``summary.json`` from the run folder's evaluation (and baselines, where there are some)."""
    evaluation = json.loads((folder / "evaluation.json").read_text())
    baselines = folder / "baselines.json"
    summary = summarise(config, records, evaluation, json.loads(baselines.read_text()) if baselines.exists() else None)
    write_text(folder / "summary.json", json.dumps(summary, indent=1))
    return summary
