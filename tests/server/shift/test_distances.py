"""Distances of sites against other ways to compute them."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from common.comparison import LEVELS
from common.protocol import ShiftReport
from server.shift.distances import distances, frechet, newcombe, total_variation, wasserstein

REPORT = ShiftReport(
    patients=200, breasts=400, images=800, malignant=100,
    stored=list(np.linspace(0.2, 0.7, 11)), standardised=list(np.linspace(-2, 2, 11)),
    prepared=list(np.linspace(-2, 2, 11)), spacing_mm=[0.07, 0.07, 0.07], input_spacing_mm=[0.6, 0.7, 0.8],
    views={"CC": 400, "MLO": 400}, densities={"A": 40, "B": 160, "C": 160, "D": 40},
    feature_mean=[], feature_variance=[],
)  # fmt: skip


def test_wasserstein_of_normal_quantiles_is_that_of_the_samples():
    ours = wasserstein(
        [NormalDist(0, 1).inv_cdf(level) for level in LEVELS], [NormalDist(0.7, 1.5).inv_cdf(level) for level in LEVELS]
    )
    levels = np.linspace(0.01, 0.99, 20001)
    exact = stats.wasserstein_distance(stats.norm.ppf(levels), stats.norm.ppf(levels, 0.7, 1.5))
    assert ours == pytest.approx(exact, rel=0.03)
    assert wasserstein([0.0] * 11, [0.25] * 11) == pytest.approx(0.25)
    assert wasserstein([], [0.25] * 11) is None


def test_wasserstein_of_curves_that_cross_counts_both_sides():
    rising, falling = list(np.array(LEVELS) - 0.5), list(2 * (np.array(LEVELS) - 0.5))
    assert wasserstein(rising, falling) == pytest.approx(0.49 / 2, rel=1e-3)


def test_newcombes_own_example():
    """Newcombe 1998, table II, (a) 56/70 - 48/80: method 10 gives 0.0524 to 0.3339."""
    found = newcombe(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    extreme = newcombe(0, 20, 0, 10)
    assert extreme.value == 0 and extreme.low == pytest.approx(-0.2775, abs=1e-4)
    assert extreme.high == pytest.approx(0.1611, abs=1e-4)


def test_total_variation_is_the_share_that_would_have_to_change():
    assert total_variation({"MLO": 100}, {"CC": 30, "MLO": 30}) == pytest.approx(0.5)
    assert total_variation({"A": 3}, {"A": 700}) == 0 and total_variation({}, {"A": 3}) is None


def of_features(values):
    values = np.asarray(values)
    return replace(
        REPORT, feature_mean=values.mean(0).tolist(), feature_variance=values.var(0, ddof=1).tolist(),
        feature_patients=len(values),
    )  # fmt: skip


def test_feature_distance_counts_spreads_and_forgets_what_chance_explains():
    random = np.random.default_rng(0)
    one, same = random.normal(0, [1, 10, 0], (60, 3)), random.normal(0, [1, 10, 0], (40, 3))
    assert frechet(of_features(one), of_features(same)) < 0.25
    exact = [frechet(of_features(random.normal(0, 1, (60, 400))), of_features(random.normal(0.8, 1, (40, 400))))]
    assert exact[0] == pytest.approx(0.8, abs=0.05)
    wider = frechet(of_features(random.normal(0, 1, (4000, 50))), of_features(random.normal(0, 3, (4000, 50))))
    assert wider == pytest.approx(2 / math.sqrt(5), abs=0.03)
    assert frechet(REPORT, of_features(one)) is None


def test_every_pair_is_there_once_and_order_changes_no_distance():
    told = {"A": REPORT, "B": replace(REPORT, input_spacing_mm=[1.4, 1.4, 1.4], malignant=200), "C": REPORT}
    pairs = distances(told)
    assert [(pair.first, pair.second) for pair in pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert pairs[0].scale == pytest.approx(math.log(2)) and pairs[0].prevalence.value == pytest.approx(-0.25)
    assert pairs[1].intensity == pairs[1].views == pairs[1].scale == 0
    turned = {(pair.second, pair.first): pair for pair in distances(dict(reversed(told.items())))}
    for pair in pairs:
        mirrored = turned[pair.first, pair.second]
        assert (mirrored.intensity, mirrored.scale, mirrored.views) == (pair.intensity, pair.scale, pair.views)
        assert mirrored.prevalence.value == -pair.prevalence.value


def test_mixes_are_not_compared_where_small_cells_were_kept_back():
    few = {"A": replace(REPORT, densities={"B": 6}), "B": replace(REPORT, densities={"C": 6}, views={"MLO": 700})}
    (pair,) = distances(few)
    assert pair.densities is None and pair.views == pytest.approx(0.5)
