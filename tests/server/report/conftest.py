"""A finished run folder with the numbers of synthetic scores, as the coordinator and the simulation write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from common.configuration import RunConfig, to_yaml
from common.protocol import CalibrationBin, Estimate, EvaluationReport, ExplanationScore

TRAINED, UNSEEN = ("MCS", "TUH", "RAW", "CR"), "UNSEEN"
QUALITY = {"MCS": 1.75, "TUH": 1.6, "RAW": 1.25, "CR": 1.9, "UNSEEN": 1.1}
"""Distance of the two classes' scores, in standard deviations."""


QUARANTINED = {"site": "RAW", "error": "WireError", "meaning": "the digest does not fit"}


def _estimate(value: float, n: int) -> Estimate:
    half = 1.96 * float(np.sqrt(max(value * (1 - value), 0.002) / n))
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0))


def _auc(scores: np.ndarray, malignant: np.ndarray) -> float:
    return float((scores[malignant][:, None] > scores[~malignant][None, :]).mean())


def _evaluation(rng: np.random.Generator, quality: float, breasts: int = 160) -> EvaluationReport:
    """A report with the real statistics of made-up scores."""
    malignant = rng.random(breasts) < 0.36
    logits = rng.normal(np.where(malignant, quality, 0.0), 1.0) * 1.3 - 1.4
    scores = 1 / (1 + np.exp(-logits))
    grid = np.linspace(0, 1, 51)
    sensitivities = [float((scores[malignant] > np.quantile(scores[~malignant], at)).mean()) for at in grid]
    bins = []
    for low in np.arange(0, 1, 0.2):
        inside = (scores >= low) & (scores < low + 0.2)
        if inside.sum() >= 5:
            bins.append(
                CalibrationBin(float(scores[inside].mean()), float(malignant[inside].mean()), int(inside.sum()))
            )
    views = int(malignant.sum()) * 2
    rates = {"gradcam": (0.62, 0.34), "shap": (0.71, 0.41), "intensity": (0.24, 0.12), "random": (0.06, 0.05)}
    return EvaluationReport(
        patients=breasts // 2,
        breasts=breasts,
        images=breasts * 2,
        malignant=int(malignant.sum()),
        loss=float(-np.log(np.where(malignant, scores, 1 - scores)).mean()),
        auc=_estimate(_auc(scores, malignant), 90),
        sensitivity=_estimate(sensitivities[45], int(malignant.sum())),
        brier=_estimate(float(((scores - malignant) ** 2).mean()), 200),
        calibration_error=float(sum(abs(b.predicted - b.observed) * b.count for b in bins) / breasts),
        roc_specificity=[float(at) for at in grid],
        roc_sensitivity=sensitivities,
        calibration=bins,
        explanations={
            name: ExplanationScore(
                _estimate(a * quality / 1.6, views),
                _estimate(b * quality / 1.6, views),
                views,
                gap=2e-6 if name == "shap" else None,
            )
            for name, (a, b) in rates.items()
        },
        seconds=2.5,
    )


def _picture(path: Path, rng: np.random.Generator, box: bool) -> None:
    """A small breast-like picture with a warm spot, and an outline."""
    image = Image.new("RGB", (192, 256))
    pen = ImageDraw.Draw(image)
    pen.ellipse((-150, 15, 160, 240), fill=(70, 70, 72))
    for _ in range(40):
        x, y = int(rng.integers(0, 130)), int(rng.integers(40, 215))
        pen.ellipse((x, y, x + 22, y + 14), fill=(int(rng.integers(80, 150)),) * 3)
    pen.ellipse((60, 100, 110, 150), fill=(210, 110, 40))
    image = image.filter(ImageFilter.GaussianBlur(6))
    if box:
        ImageDraw.Draw(image).rectangle((66, 104, 104, 146), outline=(86, 180, 233), width=2)
    image.save(path)


def _rounds(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    lines = []
    for number in range(1, count + 1):
        progress = 1 - float(np.exp(-number / 3))
        lines.append(
            {
                "round": number,
                "seconds": 12.0 + number / 10,
                "bytes_sent": 89_800_000,
                "bytes_received": 89_700_000 + number,
                "train": {
                    site: {
                        "patients": 90, "breasts": 180, "malignant": 60, "steps": 12, "seconds": 2.4,
                        "loss": 0.72 - 0.35 * progress + float(rng.normal(0, 0.012)),
                        "update_norm": 2.1 - progress, "weight": 0.25,
                    }
                    for site in TRAINED
                    if (site, number) not in (("RAW", 3), ("CR", 5))
                },
                "quarantined": [QUARANTINED] if number == 3 else [],
                "missing": ["CR"] if number == 5 else [],
                "validation": {
                    site: {
                        "auc": min(0.5 + 0.21 * QUALITY[site] * progress + float(rng.normal(0, 0.025)), 0.99),
                        "loss": 0.7 - 0.3 * progress, "breasts": 40, "malignant": 14,
                    }
                    for site in TRAINED
                },
            }
        )  # fmt: skip
    return lines


def _site(role: str, boxes: str = "known", **changes: Any) -> dict[str, Any]:
    return {
        "role": role, "patients": 150, "breasts": 300, "images": 600, "malignant": 104, "benign": 60, "normal": 136,
        "views": {"MLO": 300, "CC": 300}, "boxes": boxes, "skipped": 0, "inverted": 0, "source": "phantom",
        "left_out": "",
        "splits": {
            "train": {"patients": 90, "breasts": 180, "malignant": 60},
            "validation": {"patients": 22, "breasts": 44, "malignant": 14},
            "test": {"patients": 38, "breasts": 76, "malignant": 30},
        },
    } | changes  # fmt: skip


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def write_example(folder: Path, *, pictures: int = 4) -> Path:
    """Write a complete run folder: four training sites, an unseen one, baselines, explanations, galleries."""
    rng = np.random.default_rng(7)
    config = RunConfig(name="demo", description="Four phantom hospitals and an unseen fifth.", seed=3)
    config.baselines = ["local", "pooled"]
    evaluations = {site: _evaluation(rng, quality) for site, quality in QUALITY.items()}
    local = {
        trained: {
            tested: asdict(_estimate(0.87 if tested == trained else float(rng.uniform(0.55, 0.85)), 90))
            for tested in (*TRAINED, UNSEEN)
        }
        for trained in TRAINED
    }
    pooled = {
        site: asdict(_estimate((report.auc.value or 0) + float(rng.normal(0.004, 0.01)), 90))
        for site, report in evaluations.items()
    }
    sites = {site: _site("train") for site in TRAINED} | {UNSEEN: _site("unseen", inverted=3, skipped=1)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    rounds = _rounds(rng, 8)
    best = max(rounds, key=lambda line: sum(found["auc"] for found in line["validation"].values()))
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rounds))
    _write_json(folder / "sites.json", sites)
    _write_json(folder / "baselines.json", {"local": local, "pooled": pooled})
    _write_json(
        folder / "evaluation.json",
        {
            "round": best["round"], "rule": "best mean validation AUC", "prior_log_odds": -0.8,
            "sites": {site: asdict(evaluations[site]) for site in TRAINED},
            "unseen": {UNSEEN: asdict(evaluations[UNSEEN])},
        },
    )  # fmt: skip
    seconds = {"total": 171.0, "train": 101.0, "evaluate": 44.0, "communication": 3.2}
    _write_json(
        folder / "summary.json", {"task": "classifier", "seconds": seconds, "bytes_sent": 1_437_000_000, "privacy": {}}
    )
    outcomes = ("hit", "missed", "false alarm", "correct")
    for site in TRAINED:
        gallery = folder / "sites" / site / "reports" / "gallery"
        gallery.mkdir(parents=True, exist_ok=True)
        listing = []
        for place in range(pictures):
            outcome = outcomes[place % 4]
            score = float(rng.uniform(0, 0.5)) + 0.5 * (outcome in ("hit", "false alarm"))
            _picture(gallery / f"breast-{place:02d}-MLO.png", rng, box=place % 4 < 2)
            listing.append(
                {
                    "file": f"breast-{place:02d}-MLO.png", "label": "malignant" if place % 4 < 2 else "normal",
                    "score": round(score, 3), "outcome": outcome, "view": "MLO",
                    "pointing": (place % 4 == 0) if place % 4 < 2 else None, "boxes": int(place % 4 < 2),
                }
            )  # fmt: skip
        _write_json(gallery / "gallery.json", listing)
    return folder


@pytest.fixture
def example_run(tmp_path: Path) -> Path:
    """A complete run folder of one's own to change."""
    return write_example(tmp_path / "run")


@pytest.fixture
def change(example_run: Path) -> Callable[[str, Callable[[Any], object]], None]:
    """Edit one JSON file of the example run in place."""

    def edit(name: str, by: Callable[[Any], object]) -> None:
        value = json.loads((example_run / name).read_text())
        by(value)
        _write_json(example_run / name, value)

    return edit
