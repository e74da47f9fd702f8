"""How the model does on one site's patients: the figures of an :class:`EvaluationReport`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from client.inference import Logits
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.metrics.bootstrap import Statistic, bootstrap_interval
from common.metrics.calibration import brier_score, calibration_bins, expected_calibration_error
from common.metrics.classification import auc, delong_interval, roc_points, sensitivity_at_specificity
from common.metrics.interval import Interval
from common.protocol import CalibrationBin, Estimate, EvaluationReport

MINIMUM_CELL = 5
"""Calibration bins with fewer breasts, and explanation scores over fewer views, do not leave the site."""
SPECIFICITY_GRID = np.linspace(0.0, 1.0, 51)

Floats = npt.NDArray[np.float64]


def estimate(interval: Interval) -> Estimate:
    """For the wire: undefined values become ``None``."""
    value, low, high = (
        number if math.isfinite(number) else None for number in (interval.value, interval.low, interval.high)
    )
    return Estimate(value, low, high)


def probabilities(logits: Floats) -> Floats:
    """Logistic function, safe at both ends."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float64)


def cross_entropy(targets: npt.NDArray[np.int64], logits: Floats) -> float:
    """Mean binary cross-entropy, nats."""
    return float(np.mean(np.logaddexp(0.0, logits) - targets * logits))


def summarise(data: SiteData, logits: Logits) -> EvaluationReport:
    """Counts, loss and AUC without intervals: what every round needs; ``None`` where there is no patient."""
    targets = data.targets
    if not len(targets):
        return EvaluationReport(patients=0, breasts=0, images=0, malignant=0, loss=None, auc=Estimate(None))
    value = auc(targets, logits)
    return EvaluationReport(
        patients=data.patients,
        breasts=len(data.breasts),
        images=sum(len(views) for views in data.views),
        malignant=int(targets.sum()),
        loss=cross_entropy(targets, logits),
        auc=Estimate(value if math.isfinite(value) else None),
    )


def measure(data: SiteData, logits: Logits, config: EvaluationConfig, seed: int) -> EvaluationReport:
    """Everything :func:`summarise` gives, with intervals, ROC and calibration.

    AUC with DeLong's interval; sensitivity and Brier score with a bootstrap over patients. With one
    class only, what needs both is ``None``.
    """
    targets, chance = data.targets, probabilities(logits)
    report = replace(
        summarise(data, logits),
        brier=_bootstrap(brier_score, data, chance, config, seed),
        calibration_error=expected_calibration_error(targets, chance),
        calibration=[
            CalibrationBin(item.mean_probability, item.observed, item.count)
            for item in calibration_bins(targets, chance)
            if item.count >= MINIMUM_CELL
        ],
    )
    return rank(report, data, logits, config, seed)


def rank(
    report: EvaluationReport, data: SiteData, scores: Floats, config: EvaluationConfig, seed: int
) -> EvaluationReport:
    """Add what the order of the breasts' scores tells: AUC with interval, sensitivity, ROC; with one class nothing."""
    targets = data.targets
    if not len(targets) or targets.min() == targets.max():
        return report

    def sensitivity(truth: npt.NDArray[np.int64], some: Floats) -> float:
        return sensitivity_at_specificity(truth, some, config.specificity)

    false_positive, true_positive = roc_points(targets, scores)
    return replace(
        report,
        auc=estimate(delong_interval(targets, scores, config.confidence)),
        sensitivity=_bootstrap(sensitivity, data, scores, config, seed),
        roc_specificity=[float(value) for value in SPECIFICITY_GRID],
        roc_sensitivity=[float(value) for value in np.interp(1.0 - SPECIFICITY_GRID, false_positive, true_positive)],
    )


def _bootstrap(statistic: Statistic, data: SiteData, scores: Floats, config: EvaluationConfig, seed: int) -> Estimate:
    patients = [breast.patient_id for breast in data.breasts]
    return estimate(
        bootstrap_interval(statistic, data.targets, scores, patients, config.bootstrap_samples, config.confidence, seed)
    )
