"""Weights that sites earn, against hand-made numbers; what missing sites change, and what the order does not."""

import math

import pytest

from server.aggregation.weights import LEAST, generalisation_gap, site_weight, worst_site

EQUAL = {"MCS": 1 / 3, "TUH": 1 / 3, "RAW": 1 / 3}


def test_gap_weights_by_hand():
    """Gaps .1, .4, .1: mean .2, deviations -.1, .2, -.1; the largest is .2, so d = .1 moves by -.05, .1, -.05."""
    found = generalisation_gap(EQUAL, {"MCS": 0.1, "TUH": 0.4, "RAW": 0.1}, 0.1)
    assert found == pytest.approx({"MCS": 1 / 3 - 0.05, "TUH": 1 / 3 + 0.1, "RAW": 1 / 3 - 0.05})


def test_gap_weights_do_not_fall_below_nothing():
    """.1 - .5 and .3 - .5 are cut, .6 + 1 is 1.6: nearly all of the sum."""
    before = {"MCS": 0.1, "TUH": 0.6, "RAW": 0.3}
    found = generalisation_gap(before, {"MCS": 0.0, "TUH": 0.3, "RAW": 0.0}, 1.0)
    assert found["TUH"] == pytest.approx(1.6 / (1.6 + 2 * LEAST)) and sum(found.values()) == pytest.approx(1.0)
    assert 0 < found["MCS"] == found["RAW"] < 1e-5


def test_equal_gaps_move_nothing():
    before = {"MCS": 0.2, "TUH": 0.5, "RAW": 0.3}
    assert generalisation_gap(before, dict.fromkeys(before, 0.7), 0.2) == before
    assert generalisation_gap(before, {}, 0.2) == before


def test_gaps_in_another_unit_or_with_a_constant_added_move_the_same():
    gaps = {"MCS": -0.3, "TUH": 0.4, "RAW": 0.2}
    expected = generalisation_gap(EQUAL, gaps, 0.2)
    changed = generalisation_gap(EQUAL, {site: 5.0 + 100.0 * gap for site, gap in gaps.items()}, 0.2)
    assert changed == pytest.approx(expected)


def test_a_site_without_a_gap_is_left_out_of_mean_and_maximum():
    """Of two sites with gaps one goes up by d and one down; the third would have been the mean's outlier."""
    found = generalisation_gap(EQUAL, {"MCS": 0.1, "TUH": 0.3}, 0.1)
    assert found == pytest.approx({"MCS": 1 / 3 - 0.1, "TUH": 1 / 3 + 0.1, "RAW": 1 / 3})


def test_worst_site_weights_by_hand():
    """Losses log 2 and log 4 with gamma 1 multiply by 2 and 4."""
    before = {"MCS": 0.5, "TUH": 0.5}
    found = worst_site(before, {"MCS": math.log(2), "TUH": math.log(4)}, 1.0)
    assert found == pytest.approx({"MCS": 1 / 3, "TUH": 2 / 3})


def test_worst_site_weights_find_the_saddle_point():
    """min over w of max(w^2, (w - 1)^2 + .2): both losses are .36 at w = .6, where the weights are .4 and .6."""
    w, weights, mean = 0.0, {"A": 0.5, "B": 0.5}, 0.0
    for number in range(20000):
        weights = worst_site(weights, {"A": w**2, "B": (w - 1) ** 2 + 0.2}, 0.01)
        w -= 0.01 * (weights["A"] * 2 * w + weights["B"] * 2 * (w - 1))
        mean += (w - mean) / (number + 1)
    assert mean == pytest.approx(0.6, abs=0.01)


def test_measured_sites_share_what_they_had_together():
    before = {"MCS": 0.5, "TUH": 0.3, "RAW": 0.2}
    found = worst_site(before, {"TUH": math.log(3), "RAW": 0.0}, 1.0)
    assert found == pytest.approx({"MCS": 0.5, "TUH": 0.5 * 0.9 / 1.1, "RAW": 0.5 * 0.2 / 1.1})


def test_equal_losses_move_nothing_and_huge_ones_stay_numbers():
    before = {"MCS": 0.2, "TUH": 0.8}
    assert worst_site(before, {"MCS": 0.6, "TUH": 0.6}, 3.0) == pytest.approx(before)
    found = worst_site(before, {"MCS": 1e6, "TUH": 0.1}, 10.0)
    assert found["MCS"] == pytest.approx(1.0, abs=1e-5) and found["TUH"] > 0


@pytest.mark.parametrize("rule", [generalisation_gap, worst_site])
def test_the_order_of_the_sites_changes_nothing(rule):
    said = {"MCS": 0.3, "TUH": 0.9, "RAW": 0.5}
    backwards = dict(reversed(said.items()))
    assert rule(EQUAL, backwards, 0.2) == pytest.approx(rule(dict(reversed(EQUAL.items())), said, 0.2))


@pytest.mark.parametrize("rule", [generalisation_gap, worst_site])
def test_one_site_alone_has_all_the_weight(rule):
    assert rule({"MCS": 1.0}, {"MCS": 0.7}, 0.2) == {"MCS": 1.0}


def test_the_mean_that_agreement_stays_near_is_by_patients():
    assert site_weight("gradient_agreement", 12) == site_weight("patients", 12) == 12.0
    with pytest.raises(ValueError, match="unknown site weights 'worst'"):
        site_weight("worst", 3)
