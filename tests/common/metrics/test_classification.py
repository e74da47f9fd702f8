"""AUC, DeLong's interval, sensitivity and ROC against brute force and another package."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_curve

from common.metrics.classification import auc, delong_interval, roc_points, sensitivity_at_specificity

NEGATIVE = [1.9, -0.3, 1.0, -0.9, 0.9, 0.7, -2.8, 1.0, -1.0, -1.7, 0.7, -0.4, -0.1]
POSITIVE = [0.9, 1.6, 0.9, 0.8, 1.7, 1.2, 1.4, 0.0, 1.1, 2.5, 1.8]
TARGETS, SCORES = np.repeat([0, 1], [13, 11]), np.array(NEGATIVE + POSITIVE)


def drawn(seed, breasts=60, gap=1.0, decimals=1):
    """Scores with ties, both classes."""
    random = np.random.default_rng(seed)
    targets = (np.arange(breasts) % 3 == 0).astype(np.int64)
    return targets, np.round(random.normal(size=breasts) + gap * targets, decimals)


def delong_1988(targets, scores, confidence):
    """The paper, pair by pair: psi, equation 4's components, equation 5's variances."""
    x, y = scores[targets == 1], scores[targets == 0]
    psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
    theta = psi.mean()
    s10 = sum((psi[i].mean() - theta) ** 2 for i in range(len(x))) / (len(x) - 1)
    s01 = sum((psi[:, j].mean() - theta) ** 2 for j in range(len(y))) / (len(y) - 1)
    half = norm.ppf(0.5 + confidence / 2) * math.sqrt(s10 / len(x) + s01 / len(y))
    return theta, theta - half, theta + half


@pytest.mark.parametrize("seed", range(8))
def test_delong_is_the_paper_pair_by_pair_also_with_ties(seed):
    targets, scores = drawn(seed, decimals=seed % 3)
    found = delong_interval(targets, scores, 0.9)
    theta, low, high = delong_1988(targets, scores, 0.9)
    assert (found.value, found.low, found.high) == pytest.approx((theta, max(0.0, low), min(1.0, high)), abs=1e-12)
    assert found.value == pytest.approx(auc(targets, scores), abs=1e-12)


def test_delong_agrees_with_the_package_confidenceinterval():
    # confidenceinterval 1.0.5, roc_auc_score(..., confidence_level=0.9 and 0.95), which computes in float32 and does
    # not cut at 1: (0.8391608, (0.6989045033, 0.9794170966)) and (0.8391608, (0.6720351144, 1.0062864855)).
    narrow, wide = delong_interval(TARGETS, SCORES, 0.9), delong_interval(TARGETS, SCORES)
    assert (narrow.value, narrow.low, narrow.high) == pytest.approx((0.8391608, 0.6989045, 0.9794171), abs=1e-6)
    assert (wide.value, wide.low, wide.high) == pytest.approx((0.8391608, 0.6720351, 1.0), abs=1e-6)


def test_delong_covers_the_truth_about_as_often_as_it_says():
    random, truth, hits = np.random.default_rng(0), float(norm.cdf(1.0 / math.sqrt(2.0))), 0
    targets = np.repeat([0, 1], 40)
    for _ in range(400):
        found = delong_interval(targets, random.normal(size=80) + targets, 0.9)
        hits += found.low <= truth <= found.high
    assert 0.85 <= hits / 400 <= 0.95


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_perfect_separation_keeps_an_honest_width(sign):
    targets = np.repeat([0, 1], [30, 7])
    found = delong_interval(targets, sign * np.arange(37.0), 0.95)
    exact = binomtest(7 if sign > 0 else 0, 7).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert found.value == (1.0 if sign > 0 else 0.0)
    assert found.high - found.low > 0.3
    if sign > 0:
        assert found.low == pytest.approx(0.025 ** (1 / 7))


def test_equal_scores_say_nothing_rather_than_exactly_a_half():
    found = delong_interval(np.repeat([0, 1], 10), np.full(20, 0.7))
    assert found.value == 0.5
    assert found.low < 0.25
    assert found.high > 0.75


def test_a_single_malignant_breast_gives_almost_no_knowledge():
    found = delong_interval(np.array([0, 0, 0, 1]), np.array([0.1, 0.5, 0.7, 0.6]))
    assert found.value == pytest.approx(2 / 3)
    assert 0.0 <= found.low < 0.2
    assert 0.9 < found.high <= 1.0


@pytest.mark.parametrize("targets", [np.zeros(5, np.int64), np.ones(5, np.int64), np.zeros(0, np.int64)])
def test_one_class_is_undefined(targets):
    scores = np.arange(float(len(targets)))
    found = delong_interval(targets, scores)
    assert all(math.isnan(value) for value in (found.value, found.low, found.high, auc(targets, scores)))
    assert math.isnan(sensitivity_at_specificity(targets, scores, 0.9))


def test_auc_counts_rightly_ordered_pairs():
    # Pairs (0.8, 0.3), (0.8, 0.6), (0.6, 0.3) right, (0.6, 0.6) half.
    assert auc(np.array([0, 1, 0, 1]), np.array([0.3, 0.8, 0.6, 0.6])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("specificity", [0.0, 0.5, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_sensitivity_is_the_best_of_all_thresholds_with_enough_specificity(seed, specificity):
    targets, scores = drawn(seed, decimals=1 + seed % 2)
    best = 0.0
    for threshold in [*np.unique(scores), np.inf]:
        called = scores >= threshold
        if np.mean(~called[targets == 0]) >= specificity - 1e-12:
            best = max(best, float(np.mean(called[targets == 1])))
    assert sensitivity_at_specificity(targets, scores, specificity) == best


def test_one_false_alarm_in_ten_is_ninety_percent_specificity():
    targets = np.array([0] * 10 + [1] * 2)
    scores = np.array([*range(10), 8.5, 9.5], dtype=np.float64)
    assert sensitivity_at_specificity(targets, scores, 0.9) == 1.0
    assert sensitivity_at_specificity(targets, scores, 0.91) == 0.5


def test_roc_points_enclose_the_auc_and_rise_from_0_to_1():
    targets, scores = drawn(5)
    false_positive, true_positive = roc_points(targets, scores)
    assert np.trapezoid(true_positive, false_positive) == pytest.approx(auc(targets, scores))
    assert (false_positive[0], true_positive[0], false_positive[-1], true_positive[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(false_positive) >= 0)
    assert np.all(np.diff(true_positive) >= 0)
    every_false, every_true, _ = roc_curve(targets, scores, drop_intermediate=False)
    assert np.isin(false_positive, every_false).all()
    assert np.isin(true_positive, every_true).all()
