"""Resampling of patients: exact enumeration, known distributions, strata, seeds."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from common.metrics.bootstrap import bootstrap_interval, bootstrap_mean
from common.metrics.calibration import brier_score


def mean_score(targets, scores):
    return float(scores.mean())


def test_percentiles_are_those_of_all_possible_resamples():
    # Three patients with 1, 2 and 1 values: all 27 draws with replacement can be listed.
    values = {"a": [0.0], "b": [1.0, 4.0], "c": [10.0]}
    everything = sorted(
        np.mean([value for p in draw for value in values[p]]) for draw in itertools.product("abc", repeat=3)
    )
    patients, flat = ["b", "a", "b", "c"], np.array([1.0, 0.0, 4.0, 10.0])
    found = bootstrap_mean(flat, patients, 40_000, 0.8, 0)
    assert found.value == 3.75
    # Each draw has probability 1/27: the 10 % point is the third smallest, the 90 % point the third largest.
    assert (found.low, found.high) == pytest.approx((everything[2], everything[-3]))
    general = bootstrap_interval(mean_score, np.zeros(4, np.int64), flat, patients, 10_000, 0.8, 1)
    assert (general.value, general.low, general.high) == pytest.approx((found.value, found.low, found.high))


def test_interval_of_a_mean_is_close_to_the_normal_one():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = bootstrap_mean(values, [str(number) for number in range(400)], 4000, 0.95, 2)
    half = norm.ppf(0.975) * values.std(ddof=1) / math.sqrt(400)
    assert (found.high - found.value, found.value - found.low) == pytest.approx((half, half), rel=0.08)


def test_breasts_of_a_patient_are_drawn_together():
    # Copies of a breast bring no knowledge: the width must be that of the patients alone.
    random = np.random.default_rng(2)
    patients = [f"p{number}" for number in range(50)]
    targets, scores = np.arange(50) % 2, random.random(50)
    once = bootstrap_interval(brier_score, targets, scores, patients, 2000, 0.95, 7)
    five = bootstrap_interval(brier_score, np.tile(targets, 5), np.tile(scores, 5), patients * 5, 2000, 0.95, 7)
    assert (five.low, five.high) == pytest.approx((once.low, once.high))
    apart = bootstrap_interval(
        brier_score,
        np.tile(targets, 5),
        np.tile(scores, 5),
        [f"{p}{k}" for k in range(5) for p in patients],
        2000,
        0.95,
        7,
    )
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


@pytest.mark.parametrize(
    ("targets", "patients"),
    [
        ([1, *[0] * 30], [f"p{n}" for n in range(31)]),  # a single malignant breast
        ([1, 0, 1, 1, 1, 1, 1, 1], list("aabcdefg")),  # the only healthy breast is a patient's second
    ],
)
def test_both_classes_are_in_every_sample(targets, patients):
    seen = []

    def record(some, scores):
        seen.append(set(some.tolist()))
        return 0.0

    bootstrap_interval(record, np.array(targets), np.zeros(len(targets)), patients, 300, 0.95, 0)
    assert all(classes == {0, 1} for classes in seen)
    assert len(seen) == 301


def test_one_class_still_gives_an_interval():
    random = np.random.default_rng(4)
    scores = random.random(40)
    found = bootstrap_interval(brier_score, np.zeros(40, np.int64), scores, [str(n) for n in range(40)], 500, 0.9, 0)
    assert found.value == pytest.approx(np.mean(scores**2))
    assert found.low < found.value < found.high


def test_an_undefined_statistic_stays_undefined():
    found = bootstrap_interval(lambda t, s: math.nan, np.array([0, 1]), np.zeros(2), ["a", "b"], 10, 0.9, 0)
    assert all(math.isnan(value) for value in (found.value, found.low, found.high))


def test_no_data_is_undefined():
    assert math.isnan(bootstrap_mean(np.zeros(0), [], 10, 0.95, 0).low)
    assert math.isnan(bootstrap_interval(brier_score, np.zeros(0, np.int64), np.zeros(0), [], 10, 0.95, 0).value)


def test_seed_decides_and_the_global_generator_is_left_alone():
    values, patients = np.random.default_rng(5).random(30), [str(number // 2) for number in range(30)]
    np.random.seed(11)
    before = np.random.get_state()[1].copy()
    first, again, other = (bootstrap_mean(values, patients, 200, 0.95, seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert np.array_equal(np.random.get_state()[1], before)
