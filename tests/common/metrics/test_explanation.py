"""Pointing game and energy in boxes on maps whose answer can be counted."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from common.imaging.box import Box
from common.metrics.explanation import (
    Overlap,
    energy_in_boxes,
    mask_of_boxes,
    overlap,
    pointing_game,
    rank_accuracy,
    rank_correlation,
)


def map_with(**peaks):
    """A 6 × 8 map, 0 but for ``r<row>c<column>=value``."""
    found = np.zeros((6, 8), np.float32)
    for place, value in peaks.items():
        found[int(place[1]), int(place[3])] = value
    return found


@pytest.mark.parametrize(
    ("place", "hit"),
    [
        ("r2c3", True),
        ("r3c4", True),
        ("r2c5", False),
        ("r4c3", False),
        ("r1c3", False),
        ("r2c2", False),
        ("r3c2", False),
    ],
)
def test_pointing_knows_rows_from_columns_and_edges(place, hit):
    # Columns 3 and 4, rows 2 and 3.
    assert pointing_game(map_with(**{place: 1.0}), [Box(3, 2, 5, 4)]) is hit


def test_any_box_will_do():
    found = map_with(r5c7=2.0, r0c0=1.0)
    assert pointing_game(found, [Box(0, 0, 1, 1), Box(6, 4, 8, 6)])
    assert not pointing_game(found, [Box(0, 0, 1, 1)])
    assert not pointing_game(found, [])


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_map_that_points_nowhere_misses(value):
    assert not pointing_game(np.full((6, 8), value, np.float32), [Box(0, 0, 8, 6)])


def test_of_equal_maxima_most_must_be_inside():
    box = [Box(0, 0, 2, 1)]
    assert pointing_game(map_with(r0c0=1.0, r0c1=1.0, r4c4=1.0), box)
    assert not pointing_game(map_with(r0c0=1.0, r4c4=1.0), box)


def test_energy_is_the_share_inside():
    assert energy_in_boxes(map_with(r0c0=3.0, r5c7=1.0), [Box(0, 0, 2, 2)]) == pytest.approx(0.75)
    assert energy_in_boxes(np.ones((6, 8), np.float32), [Box(2, 1, 6, 4)]) == pytest.approx(12 / 48)


def test_negative_values_have_no_energy():
    assert energy_in_boxes(map_with(r0c0=3.0, r0c1=-2.0, r5c7=1.0, r4c4=-9.0), [Box(0, 0, 2, 2)]) == pytest.approx(0.75)


def test_overlapping_boxes_count_once():
    boxes = [Box(0, 0, 4, 6), Box(2, 0, 6, 6), Box(0, 0, 4, 6)]
    assert energy_in_boxes(np.ones((6, 8), np.float32), boxes) == pytest.approx(6 / 8)


@pytest.mark.parametrize("found", [np.zeros((6, 8), np.float32), np.full((6, 8), -1.0, np.float32)])
def test_a_map_without_energy_scores_nothing(found):
    assert energy_in_boxes(found, [Box(0, 0, 8, 6)]) == 0.0


def test_a_box_smaller_than_a_pixel_is_that_pixel():
    speck = [Box(3.1, 2.1, 3.3, 2.2)]
    assert pointing_game(map_with(r2c3=1.0), speck)
    assert not pointing_game(map_with(r2c4=1.0), speck)
    assert energy_in_boxes(np.ones((6, 8), np.float32), speck) == pytest.approx(1 / 48)


def test_a_box_reaching_beyond_the_map_is_cut():
    assert energy_in_boxes(np.ones((6, 8), np.float32), [Box(-5, -5, 2, 99)]) == pytest.approx(2 / 8)


def brute_overlap(hot, truth):
    common = sum(bool(h and t) for h, t in zip(hot.ravel(), truth.ravel(), strict=True))
    union = sum(bool(h or t) for h, t in zip(hot.ravel(), truth.ravel(), strict=True))
    return common / union, 2 * common / (hot.sum() + truth.sum())


def test_overlap_is_that_of_a_count_pixel_by_pixel():
    random = np.random.default_rng(0)
    for _ in range(50):
        found = random.random((6, 8)).astype(np.float32)
        truth = random.random((6, 8)) > 0.7
        level = float(random.uniform(0.1, 1.0))
        measured = overlap(found, truth, level)
        assert (measured.iou, measured.dice) == pytest.approx(brute_overlap(found >= level * found.max(), truth))


def test_overlap_of_nothing_and_of_bad_input():
    truth = mask_of_boxes((6, 8), [Box(3, 2, 5, 4)])
    assert overlap(np.zeros((6, 8), np.float32), truth) == Overlap(0.0, 0.0)
    assert overlap(truth.astype(np.float32), truth) == Overlap(1.0, 1.0)
    with pytest.raises(ValueError, match="level 0"):
        overlap(truth.astype(np.float32), truth, 0.0)
    with pytest.raises(ValueError, match="differ in shape"):
        overlap(np.zeros((8, 6), np.float32), truth)


def test_rank_accuracy_counts_the_hottest_inside():
    truth = mask_of_boxes((6, 8), [Box(0, 0, 2, 2)])
    found = map_with(r0c0=5.0, r0c1=4.0, r5c7=3.0, r4c4=2.0, r1c1=1.0)
    assert rank_accuracy(found, truth) == 0.5
    assert rank_accuracy(truth.astype(np.float32), truth) == 1.0
    assert np.isnan(rank_accuracy(found, np.zeros((6, 8), bool)))


def test_rank_accuracy_of_a_constant_map_is_chance_wherever_the_lesion_lies():
    truth = mask_of_boxes((6, 8), [Box(0, 0, 8, 1)])
    chance = np.mean([rank_accuracy(np.zeros((6, 8), np.float32), truth, seed) for seed in range(400)])
    assert chance == pytest.approx(8 / 48, abs=0.03)


def test_rank_correlation_is_spearmans_over_tissue():
    random = np.random.default_rng(0)
    for _ in range(20):
        one, other = random.integers(0, 5, (2, 6, 8)).astype(np.float32)
        tissue = random.random((6, 8)) > 0.3
        assert rank_correlation(one, other, tissue) == pytest.approx(spearmanr(one[tissue], other[tissue]).statistic)
    assert rank_correlation(one, np.ones_like(one), tissue) == 0.0
    assert rank_correlation(one, other, np.zeros_like(tissue)) == 0.0


def test_air_makes_no_two_maps_alike():
    tissue = mask_of_boxes((6, 8), [Box(0, 0, 4, 6)])
    random = np.random.default_rng(5)
    one, other = np.where(tissue, random.random((2, 6, 8)), 0.0).astype(np.float32)
    assert abs(rank_correlation(one, other, tissue)) < 0.5 < rank_correlation(one, other, np.ones_like(tissue))
