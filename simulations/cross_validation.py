"""Cross-validation by patient: a run a fold, each complete and resumable, and their figures put together.

Every patient is tested on once, by a model that never saw her. Each fold's figure counts by its test patients who are
diseased; the folds' patients are different people, so that the variances of their figures add up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from math import sqrt
from pathlib import Path
from typing import Any

from scipy.special import ndtri

from common import progress
from common.atomic import write_text
from common.configuration import RunConfig
from common.configuration.limits import check_values
from common.metrics.froc import RATES
from common.protocol import Estimate
from simulations.run import CONFIG, resume, start

FIGURES = "cross-validation.json"
Figures = dict[str, dict[str, dict[str, Estimate]]]
"""By measure, by what was trained (``federated``, ``pooled``, ``MCS alone``), by site tested on."""


def cross_validate(config: RunConfig, folds: int, folder: Path, data: Path | None, engine: str) -> Path:
    """Run every fold in a folder of its own; those that are finished are kept, a begun one is gone on with.

    Args:
        config: the scenario; ``data.test_fraction`` becomes one part in ``folds``.
        folds: 2 or more.
        folder: of the folds' runs and of ``cross-validation.json``.
        data: folder with one sub-folder a site, or ``None`` for phantom sites.
        engine: as for :func:`simulations.run.start`.

    Returns:
        Path of the figures.

    Raises:
        ConfigurationError: fractions that leave nothing to train on.
        XaiFederationError: as :func:`simulations.run.start`.
    """
    runs = []
    for fold in range(1, folds + 1):
        place = folder / f"fold-{fold}"
        runs.append(place)
        progress.say(f"fold {fold} of {folds}")
        if (place / "summary.json").exists() and (place / "report.html").exists():
            continue
        if (place / CONFIG).exists():
            resume(place)
            continue
        settings = replace(config, data=replace(config.data, test_fraction=1 / folds, fold=fold))
        check_values({f"data.{key}": value for key, value in asdict(settings.data).items()})
        start(settings, place, data, engine)
    found = put_together([figures_of(place) for place in runs], config.evaluation.confidence)
    write_text(folder / FIGURES, json.dumps(_plain(found), indent=1))
    for line in table(found):
        progress.say(line)
    return folder / FIGURES


Weighted = dict[tuple[str, str, str], tuple[float, Estimate]]
"""By measure, way and site: how much a fold's figure counts, and the figure."""


def figures_of(run: Path) -> Weighted:
    """The figures of a finished fold."""
    evaluation = json.loads((run / "evaluation.json").read_text())
    found: Weighted = {}
    counts: dict[tuple[str, str], float] = {}
    for site, report in evaluation["sites"].items():
        counts["AUC", site] = report["malignant"]
        found["AUC", "federated", site] = report["malignant"], Estimate(**report["auc"])
        if report.get("froc"):
            for measure, figure in _of_curve(report["froc"]):
                counts[measure, site] = report["froc"]["lesions"]
                found[measure, "federated", site] = report["froc"]["lesions"], figure
    file = run / "baselines.json"
    tables = json.loads(file.read_text()) if file.exists() else {}
    for measure, way, site, figure in _of_baselines(tables):
        if (measure, site) in counts:
            found[measure, way, site] = counts[measure, site], figure
    return found


def _of_curve(report: dict[str, Any]) -> Iterator[tuple[str, Estimate]]:
    points = dict(zip(report["false_positives"], report["per_lesion"], strict=True))
    for rate in RATES:
        yield _sensitivity(f"{rate:g}"), Estimate(**points[rate])
    yield _sensitivity("mean"), Estimate(**report["mean_per_lesion"])


def _sensitivity(rate: str) -> str:
    return "mean sensitivity" if rate == "mean" else f"sensitivity at {rate}"


def _of_baselines(tables: dict[str, Any]) -> Iterator[tuple[str, str, str, Estimate]]:
    """Measure, way, site and figure of everything in ``baselines.json``."""
    for part, is_curve in ((tables, False), (tables.get("froc", {}), True)):
        ways = {f"{name} alone": row for name, row in part.get("local", {}).items()}
        ways |= {"pooled": part["pooled"]} if "pooled" in part else {}
        for way, row in ways.items():
            for site, value in row.items():
                figures = {_sensitivity(rate): figure for rate, figure in value.items()} if is_curve else {"AUC": value}
                for measure, figure in figures.items():
                    yield measure, way, site, Estimate(**figure)


def put_together(folds: Sequence[Weighted], confidence: float) -> Figures:
    """Weighted means over the folds, with normal intervals of the folds' added variances, within 0 and 1.

    A figure that is undefined in one fold (no lesion there) is the mean of the others. The half width of a fold's own
    interval is read as so many of its standard errors.
    """
    found: Figures = {}
    for key in dict.fromkeys(key for fold in folds for key in fold):
        defined = [fold[key] for fold in folds if key in fold and fold[key][1].value is not None]
        found.setdefault(key[0], {}).setdefault(key[1], {})[key[2]] = _mean(defined, float(ndtri(0.5 + confidence / 2)))
    return found


def _mean(figures: Sequence[tuple[float, Estimate]], errors: float) -> Estimate:
    total = sum(weight for weight, _ in figures)
    if not total:
        return Estimate(None)
    value, variance, known = 0.0, 0.0, True
    for weight, figure in figures:
        assert figure.value is not None
        value += weight / total * figure.value
        if figure.low is None or figure.high is None:
            known = False
        else:
            variance += (weight / total * (figure.high - figure.low) / 2 / errors) ** 2
    if not known:
        return Estimate(value)
    return Estimate(value, max(0.0, value - errors * sqrt(variance)), min(1.0, value + errors * sqrt(variance)))


def _plain(found: Figures) -> dict[str, Any]:
    return {
        measure: {way: {site: asdict(figure) for site, figure in row.items()} for way, row in ways.items()}
        for measure, ways in found.items()
    }


def table(found: Figures) -> list[str]:
    """The figures as lines of Markdown, a table a measure."""
    lines = []
    for measure, ways in found.items():
        sites = list(dict.fromkeys(site for row in ways.values() for site in row))
        lines += ["", f"| {measure} | {' | '.join(sites)} |", "|---" * (len(sites) + 1) + "|"]
        for way, row in ways.items():
            lines.append(f"| {way} | {' | '.join(_cell(row.get(site)) for site in sites)} |")
    return lines


def _cell(figure: Estimate | None) -> str:
    if figure is None or figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
