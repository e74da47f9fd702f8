"""What a site keeps back of its figures, because they stand on few patients or are finer than it wants to tell."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from common.protocol import Estimate, EvaluationReport, TrainReport

GRIDS = frozenset({"false_positives", "roc_specificity", "seconds"})
"""Floats that are no figures of patients."""
Record = TypeVar("Record")


@dataclass(frozen=True)
class Withholding:
    """Of a site's policy. ``None`` leaves what the program itself holds back: bins, scores and curves below five."""

    minimum_cell: int | None = None
    """Fewest breasts of either kind, views or lesions that a figure may stand on."""
    decimals: int | None = None
    """Of every figure."""


def withheld(report: EvaluationReport, rules: Withholding) -> EvaluationReport:
    """An evaluation as it may leave the site. Counts of patients, breasts and images stay as they are."""
    cell = rules.minimum_cell
    if cell is not None:
        if min(report.malignant, report.breasts - report.malignant) < cell:
            report = replace(
                report,
                loss=None,
                auc=Estimate(None),
                sensitivity=Estimate(None),
                brier=Estimate(None),
                calibration_error=None,
                roc_specificity=[],
                roc_sensitivity=[],
                calibration=[],
                personal=None,
            )
        report = replace(
            report,
            calibration=[item for item in report.calibration if item.count >= cell],
            explanations={
                name: score if score.quality and score.quality.views >= cell else replace(score, quality=None)
                for name, score in report.explanations.items()
                if score.views >= cell
            },
            froc=report.froc if report.froc and report.froc.breasts >= cell else None,
        )
        if report.personal is not None and report.froc is None:
            report = replace(report, personal=replace(report.personal, mean_per_lesion=Estimate(None)))
    return rounded(report, rules)


def rounded(report: Record, rules: Withholding) -> Record:
    """The same message with every figure rounded to the site's number of decimals."""
    return report if rules.decimals is None else _rounded(report, rules.decimals)


def _rounded(value: Any, decimals: int) -> Any:
    if isinstance(value, float):
        return round(value, decimals)
    if isinstance(value, list):
        return [_rounded(item, decimals) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item, decimals) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            item.name: _rounded(getattr(value, item.name), decimals) for item in fields(value) if item.name not in GRIDS
        }
        return replace(value, **changed)
    return value


def loss_rounded(report: TrainReport, rules: Withholding) -> TrainReport:
    """A report on training; what is said of privacy is not rounded."""
    if rules.decimals is None:
        return report
    own = None if report.own_loss is None else round(report.own_loss, rules.decimals)
    return replace(report, loss=round(report.loss, rules.decimals), own_loss=own)
