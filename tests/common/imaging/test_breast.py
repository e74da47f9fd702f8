"""The breast is found beside labels, film edges and bars, and the chest wall on its side."""

import numpy as np
import pytest

from common.imaging.breast import find_breast
from tests.common.imaging.mammograms import drawn_breast

BOUNDS = (0, 30, 100, 210)  # of drawn_breast()


def assert_bounds(found, expected, tolerance=4):
    assert found is not None
    assert np.abs(np.subtract(found.bounds, expected)).max() <= tolerance, found.bounds


def test_bounds_are_those_of_the_drawing():
    assert_bounds(find_breast(drawn_breast(), "L"), BOUNDS)


def test_bounds_scale_with_the_image():
    big = np.kron(drawn_breast(), np.ones((8, 8), dtype=np.float32))
    assert_bounds(find_breast(big, "L"), [8 * edge for edge in BOUNDS], 32)


def test_labels_film_edges_and_bars_are_not_the_breast():
    pixels = drawn_breast()
    pixels[10:40, 130:170] = 1.0  # label
    pixels[:, -4:] = 0.9  # film edge
    pixels[26:36, :] = 0.6  # a bar that runs into the breast
    assert_bounds(find_breast(pixels, "L"), BOUNDS, 14)


def test_mask_covers_the_breast_and_nothing_else():
    pixels = drawn_breast()
    pixels[10:40, 130:170] = 1.0
    mask = find_breast(pixels, "L").mask
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    truth = (x / 100) ** 2 + ((y - 120) / 90) ** 2 < 1
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95


def test_dark_fat_inside_belongs_to_the_breast():
    pixels = drawn_breast()
    pixels[100:140, 0:40] = 0.02
    mask = find_breast(pixels, "L").mask
    assert mask[100:140, 0:40].all()


def test_tissue_around_a_white_implant_is_kept():
    y, x = np.mgrid[:240, :180]
    pixels = np.where((x / 55) ** 2 + ((y - 120) / 55) ** 2 < 1, 1.0, drawn_breast() * 0.5).astype(np.float32)
    assert_bounds(find_breast(pixels, "L"), BOUNDS)


@pytest.mark.parametrize("laterality", ["L", "R"])
def test_chest_wall_is_where_the_image_shows_it(laterality):
    assert find_breast(drawn_breast(), laterality).chest_wall == "left"
    assert find_breast(drawn_breast()[:, ::-1], laterality).chest_wall == "right"


def test_laterality_decides_where_the_image_does_not():
    everything = drawn_breast(reach=900, half_height=300)
    everything[:3, :] = 0.02
    assert find_breast(everything, "L").chest_wall == "left"
    assert find_breast(everything, "R").chest_wall == "right"


@pytest.mark.parametrize("pixels", [np.zeros((64, 48)), np.full((64, 48), 0.7)])
def test_nothing_is_found_in_a_blank_image(pixels):
    assert find_breast(pixels.astype(np.float32), "L") is None


def test_nothing_is_found_where_there_is_but_a_label():
    pixels = np.zeros((240, 180), dtype=np.float32)
    pixels[20:34, 140:160] = 1.0
    assert find_breast(pixels, "L") is None
