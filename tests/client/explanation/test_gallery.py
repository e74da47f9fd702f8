"""Pictures of the gallery, pixel by pixel where it matters."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from client.explanation.gallery import draw_gallery_picture
from client.pictures import BOX_COLOUR
from common.imaging.box import Box

BOX = Box(20, 30, 40, 60)


def prepared_view():
    """A breast of two greys, -3 outside: columns 0 to 59 of 80, rows 10 to 99 of 105."""
    image = np.full((105, 80), -3.0, np.float32)
    image[10:100, :60] = 0.0
    image[10:50, :60] = 1.0
    return image


def spot(row=45, column=30):
    rows, columns = np.mgrid[:105, :80]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 50.0).astype(np.float32)


def drawn(image, found, boxes):
    """The two panels, float (420, W, 3)."""
    picture = Image.open(BytesIO(draw_gallery_picture(image, found, boxes)))
    assert (picture.format, picture.mode, picture.height) == ("PNG", "RGB", 420)
    pixels = np.asarray(picture, dtype=np.float64)
    width = round(image.shape[1] * 420 / image.shape[0])
    assert 2 * width < pixels.shape[1] <= 2 * width + 12
    return pixels[:, :width], pixels[:, -width:]


def test_left_is_grey_and_right_has_colour_where_the_map_is_high():
    left, right = drawn(prepared_view(), spot(), [])
    assert np.all(np.ptp(left, axis=2) == 0)
    changed = np.abs(left - right).max(axis=2)
    assert changed[4 * 45, 4 * 30] > 60
    assert changed[4 * 90, 4 * 70] == 0
    assert np.all(changed[: 4 * 12] < 3)


def test_stronger_is_lighter_and_more_opaque():
    found = np.zeros((105, 80), np.float32)
    for column, value in ((10, 0.2), (30, 0.5), (50, 1.0)):
        found[60:90, column - 8 : column + 8] = value
    _, right = drawn(prepared_view(), found, [])
    colour = [np.ptp(right[4 * 75, 4 * column]) for column in (10, 30, 50)]
    assert colour == sorted(colour)
    assert colour[0] < colour[2]
    brightness = [right[4 * 75, 4 * column].mean() for column in (10, 30, 50)]
    assert brightness == sorted(brightness)


def test_the_box_is_on_both_sides_around_its_pixels():
    for panel in drawn(prepared_view(), np.zeros((105, 80), np.float32), [BOX]):
        blue = np.all(panel == BOX_COLOUR, axis=2)
        rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
        assert (rows[0], rows[-1]) == pytest.approx((4 * 30, 4 * 60), abs=3)
        assert (columns[0], columns[-1]) == pytest.approx((4 * 20, 4 * 40), abs=3)
        assert not blue[4 * 32 : 4 * 58, 4 * 22 : 4 * 38].any(), "the lesion stays visible"


def test_an_empty_map_leaves_both_sides_alike():
    left, right = drawn(prepared_view(), np.zeros((105, 80), np.float32), [BOX])
    np.testing.assert_array_equal(left, right)


def test_the_colours_do_not_depend_on_the_size_of_the_values():
    first, second = (draw_gallery_picture(prepared_view(), factor * spot(), [BOX]) for factor in (1.0, 1e-4))
    assert np.abs(np.asarray(Image.open(BytesIO(first)), float) - np.asarray(Image.open(BytesIO(second)))).max() <= 1


def test_one_bright_clip_does_not_darken_the_breast():
    image = prepared_view()
    image[20, 20] = 100.0
    left, _ = drawn(image, np.zeros_like(image), [])
    assert left[4 * 40, 4 * 30, 0] > 240
    assert left[4 * 80, 4 * 30, 0] < 30
    assert left[4 * 80, 4 * 75, 0] == 0


@pytest.mark.parametrize("value", [-3.0, 0.0])
def test_a_blank_view_can_be_drawn(value):
    left, _ = drawn(np.full((105, 80), value, np.float32), np.zeros((105, 80), np.float32), [])
    assert np.all(left == 0)


def test_boxes_at_the_edge_and_of_no_size_can_be_drawn():
    drawn(prepared_view(), spot(), [Box(0, 0, 80, 105), Box(79.9, 104.9, 80, 105), Box(0, 0, 0.1, 0.1)])
