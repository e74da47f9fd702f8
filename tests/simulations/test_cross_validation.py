"""Cross-validation: the folds' figures put together, against hand calculation and the bootstrap."""

import numpy as np
import pytest

from common.protocol import Estimate
from simulations.cross_validation import put_together

KEY = ("AUC", "federated", "MCS")


def together(*folds):
    return put_together([{KEY: fold} for fold in folds], 0.95)["AUC"]["federated"]["MCS"]


def test_folds_count_by_their_patients_and_their_variances_add_up():
    found = together((10, Estimate(0.8, 0.7, 0.9)), (30, Estimate(0.9, 0.85, 0.95)))
    assert found.value == pytest.approx(0.875)
    half = np.hypot(0.25 * 0.1, 0.75 * 0.05)
    assert (found.low, found.high) == (pytest.approx(0.875 - half), pytest.approx(0.875 + half))


def test_four_equal_folds_halve_the_interval():
    found = together(*[(5, Estimate(0.6, 0.4, 0.8))] * 4)
    assert (found.value, found.low, found.high) == (pytest.approx(0.6), pytest.approx(0.5), pytest.approx(0.7))


def test_the_interval_is_that_of_resampled_patients():
    """Means of 40 values in four folds: their bootstrap over all patients within folds is the oracle."""
    rng = np.random.default_rng(0)
    folds = [rng.beta(4, 2, 40) for _ in range(4)]
    draws = [np.mean([rng.choice(fold, 40).mean() for fold in folds]) for _ in range(4000)]
    each = []
    for fold in folds:
        resampled = [rng.choice(fold, 40).mean() for _ in range(4000)]
        each.append((40, Estimate(float(fold.mean()), *map(float, np.quantile(resampled, (0.025, 0.975))))))
    found = together(*each)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=0.004)


def test_a_fold_without_a_figure_does_not_count_and_none_at_all_is_undefined():
    assert together((5, Estimate(0.6, 0.5, 0.7)), (9, Estimate(None))) == together((5, Estimate(0.6, 0.5, 0.7)))
    assert together((5, Estimate(None))) == Estimate(None)
    assert together((5, Estimate(0.99, 0.95, 1.0))).high == 1.0
    assert together((5, Estimate(0.6)), (5, Estimate(0.8))).low is None
