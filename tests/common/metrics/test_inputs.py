"""Every metric refuses input that would give a plausible but wrong figure."""

import math

import numpy as np
import pytest

from common.metrics.bootstrap import bootstrap_interval, bootstrap_mean
from common.metrics.calibration import brier_score, calibration_bins, expected_calibration_error
from common.metrics.classification import auc, delong_interval, roc_points, sensitivity_at_specificity


def sensitivity(targets, scores):
    return sensitivity_at_specificity(targets, scores, 0.9)


def bootstrap(targets, scores):
    return bootstrap_interval(auc, targets, scores, [str(n) for n in range(len(targets))], 10, 0.95, 0)


METRICS = [
    auc,
    delong_interval,
    sensitivity,
    roc_points,
    brier_score,
    calibration_bins,
    expected_calibration_error,
    bootstrap,
]
TARGETS, SCORES = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.4, 0.3])


@pytest.mark.parametrize("metric", METRICS)
def test_good_input_is_taken(metric):
    metric(TARGETS, SCORES)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverged_models_scores_are_refused(metric, bad):
    scores = SCORES.copy()
    scores[2] = bad
    with pytest.raises(ValueError, match="1 of 4 scores are NaN or infinite"):
        metric(TARGETS, scores)


@pytest.mark.parametrize("metric", METRICS)
def test_lists_of_different_length_are_refused(metric):
    with pytest.raises(ValueError, match="one length"):
        metric(TARGETS, SCORES[:3])
    with pytest.raises(ValueError, match="one length"):
        metric(TARGETS[:, None], SCORES)


@pytest.mark.parametrize("metric", METRICS)
def test_a_third_class_is_refused(metric):
    with pytest.raises(ValueError, match=r"found \[2\]"):
        metric(np.array([0, 1, 2, 1]), SCORES)


def test_a_breast_without_a_patient_is_refused():
    with pytest.raises(ValueError, match="4 values but 3 patients"):
        bootstrap_interval(auc, TARGETS, SCORES, ["a", "b", "c"], 10, 0.95, 0)
    with pytest.raises(ValueError, match="4 values but 5 patients"):
        bootstrap_mean(SCORES, list("abcde"), 10, 0.95, 0)
