"""Calibration by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from common.metrics.calibration import CalibrationBin, brier_score, calibration_bins, expected_calibration_error

TARGETS = np.array([0, 1, 0, 1, 1])
CHANCE = np.array([0.1, 0.3, 0.4, 0.9, 1.0])


def test_bins_by_hand():
    # Two bins: 0.1, 0.3, 0.4 with one malignant, 0.9 and 1.0 both malignant.
    low, high = calibration_bins(TARGETS, CHANCE, 2)
    assert (low.mean_probability, low.observed, low.count) == pytest.approx((0.8 / 3, 1 / 3, 3))
    assert (high.mean_probability, high.observed, high.count) == pytest.approx((0.95, 1.0, 2))
    assert expected_calibration_error(TARGETS, CHANCE, 2) == pytest.approx((3 * (1 / 3 - 0.8 / 3) + 2 * 0.05) / 5)


def test_empty_bins_are_left_out_and_one_belongs_to_the_last():
    assert calibration_bins(np.array([1, 1]), np.array([1.0, 0.95])) == [CalibrationBin(0.975, 1.0, 2)]
    assert calibration_bins(np.array([0]), np.array([0.0])) == [CalibrationBin(0.0, 0.0, 1)]


def test_bins_and_brier_score_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    chance = random.random(500)
    targets = (random.random(500) < chance**2).astype(np.int64)
    observed, predicted = calibration_curve(targets, chance, n_bins=10)
    found = calibration_bins(targets, chance)
    assert [item.observed for item in found] == pytest.approx(observed.tolist())
    assert [item.mean_probability for item in found] == pytest.approx(predicted.tolist())
    assert sum(item.count for item in found) == 500
    assert brier_score(targets, chance) == pytest.approx(brier_score_loss(targets, chance))


def test_calibration_error_tells_honest_from_boastful():
    random = np.random.default_rng(1)
    chance = random.random(20_000)
    targets = (random.random(20_000) < chance).astype(np.int64)
    assert expected_calibration_error(targets, chance) < 0.02
    # Squaring away from a half: |mean gap| of p^2 against p over 0..1 is 1/6.
    assert expected_calibration_error(targets, chance**2) == pytest.approx(1 / 6, abs=0.02)


def test_no_data_is_undefined():
    none = np.zeros(0)
    assert math.isnan(brier_score(none.astype(np.int64), none))
    assert math.isnan(expected_calibration_error(none.astype(np.int64), none))
    assert calibration_bins(none.astype(np.int64), none) == []
