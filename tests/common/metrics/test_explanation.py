"""Pointing game and energy in boxes on maps whose answer can be counted."""

import numpy as np
import pytest

from common.imaging.box import Box
from common.metrics.explanation import energy_in_boxes, pointing_game


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
