"""A lesion is found at the same place in stored pixels, in the input, and in a map sent back."""

import numpy as np
import pytest

from common.configuration import ImagingConfig
from common.imaging.box import Box
from common.imaging.breast import find_breast
from common.imaging.geometry import Geometry
from common.imaging.polarity import is_inverted
from common.imaging.preprocessing import prepare_image
from tests.common.imaging.mammograms import drawn_breast, write_dicom, write_png

SQUARE = Geometry(
    stored_rows=200, stored_columns=100, crop=(10, 20, 90, 180), mirrored=False, inverted=False,
    rows=100, columns=40, placed=(80, 40), top=10,
)  # fmt: skip


def mirrored(geometry):
    return Geometry(**{**geometry.__dict__, "mirrored": True})


def overlap(found, box):
    """Intersection over union of a mask and a box."""
    truth = np.zeros_like(found)
    truth[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    return (found & truth).sum() / (found | truth).sum()


def test_boxes_by_hand():
    """Half the size, 20 rows cut off and 10 rows of air on top; mirrored, the crop's right edge is 0."""
    box = Box(30, 60, 50, 100, "mass")
    assert SQUARE.boxes_to_input([box]) == [Box(10, 30, 20, 50, "mass")]
    assert mirrored(SQUARE).boxes_to_input([box]) == [Box(20, 30, 30, 50, "mass")]


def test_boxes_are_cut_at_the_picture_and_left_out_beyond_it():
    assert SQUARE.boxes_to_input([Box(0, 0, 30, 60)]) == [Box(0, 10, 10, 30)]
    assert SQUARE.boxes_to_input([Box(0, 30, 10, 60)]) == []
    assert SQUARE.boxes_to_input([]) == []


@pytest.mark.parametrize("box", [Box(92, 40, 98, 60), Box(0, 40, 8, 60), Box(30, 0, 50, 18), Box(30, 184, 50, 198)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_box_outside_the_crop_is_not_put_into_the_air_around_the_picture(box, turned):
    wide = Geometry(**{**SQUARE.__dict__, "columns": 60})
    assert (mirrored(wide) if turned else wide).boxes_to_input([box]) == []


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_map_with_ones_in_the_box_goes_back_into_the_stored_box(seed, turned):
    geometry = mirrored(SQUARE) if turned else SQUARE
    x, y, width, height = np.random.default_rng(seed).integers((10, 20, 16, 16), (60, 140, 30, 40))
    box = Box(float(x), float(y), float(x + width), float(y + height))
    (found,) = geometry.boxes_to_input([box])
    values = np.zeros((geometry.rows, geometry.columns), dtype=np.float32)
    values[round(found.y0) : round(found.y1), round(found.x0) : round(found.x1)] = 1.0
    assert overlap(geometry.map_to_stored(values) > 0.5, box) > 0.8


def test_air_of_the_frame_has_no_place_in_the_stored_image():
    values = np.ones((100, 40), dtype=np.float32)
    values[10:90] = 0.0
    assert (SQUARE.map_to_stored(values) == 0).all()


@pytest.mark.parametrize("spacing", [0.25, 0.5, 1.0])
def test_a_disc_of_40_mm_has_40_mm_at_every_fixed_spacing(tmp_path, spacing):
    """Rows 0.4 mm and columns 0.2 mm apart at the detector, magnified 1.6 times: 0.25 and 0.125 mm in the breast."""
    y, x = np.mgrid[:400, :640]
    pixels = np.where((x / 560) ** 2 + ((y - 200) / 190) ** 2 < 1, 0.4, 0.02)
    pixels[((x - 240) * 0.125) ** 2 + ((y - 200) * 0.25) ** 2 < 20**2] = 0.95
    path = write_dicom(
        tmp_path / "a.dcm", np.round(pixels * 4095).astype(np.uint16),
        ImagerPixelSpacing=[0.4, 0.2], EstimatedRadiographicMagnificationFactor=1.6,
    )  # fmt: skip
    imaging = ImagingConfig(height=480, width=384, spacing_mm=spacing, harmonisation="none")
    disc = prepare_image(path, "L", imaging).pixels > 4 * 0.7 - 1
    assert disc.any(axis=0).sum() * spacing == pytest.approx(40, abs=max(1.0, 2 * spacing))
    assert disc.any(axis=1).sum() * spacing == pytest.approx(40, abs=max(1.0, 2 * spacing))


def test_spacing_of_the_header_goes_before_that_of_the_manifest(tmp_path):
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    imaging = ImagingConfig(height=256, width=192, spacing_mm=1.0)
    known = write_dicom(tmp_path / "a.dcm", stored, ImagerPixelSpacing=[0.5, 0.5])
    silent = write_dicom(tmp_path / "b.dcm", stored)
    placed = [prepare_image(path, "L", imaging, given).geometry.placed for path, given in ((known, 0.9), (known, None))]
    assert placed[0] == placed[1] == prepare_image(silent, "L", imaging, 0.5).geometry.placed


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_little_air_is_kept_on_all_sides_but_the_chest_wall(tmp_path, side):
    pixels = np.kron(drawn_breast(), np.ones((4, 4), dtype=np.float32))
    pixels = pixels if side == "left" else pixels[:, ::-1]
    path = write_dicom(tmp_path / "a.dcm", np.round(pixels * 4095).astype(np.uint16))
    x0, y0, x1, y1 = find_breast(pixels, "L").bounds
    margin = 0.01 * max(x1 - x0, y1 - y0)
    left, right = (0.0, margin) if side == "left" else (margin, 0.0)
    expected = (x0 - left, y0 - margin, x1 + right, y1 + margin)
    crop = prepare_image(path, "L", ImagingConfig()).geometry.crop
    np.testing.assert_allclose(crop, expected, atol=1.0)


def test_a_mammograms_header_goes_before_what_the_image_suggests(tmp_path):
    """A saturated breast is the purest extreme; a PNG of it is taken for inverted, the DICOM is not."""
    pixels = drawn_breast(reach=170, half_height=118)
    pixels = np.where(pixels > 0.2, 1.0, pixels).astype(np.float32)
    path = write_dicom(tmp_path / "a.dcm", np.round(pixels * 4095).astype(np.uint16))
    assert is_inverted(pixels)
    assert prepare_image(write_png(tmp_path / "a.png", pixels), "L", ImagingConfig()).geometry.inverted
    assert not prepare_image(path, "L", ImagingConfig()).geometry.inverted


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("spacing", [None, 1.0])
def test_boxes_meet_their_lesion_from_stored_pixels_to_input_and_back(tmp_path, side, spacing):
    pixels, box = drawn_breast(), Box(40, 100, 58, 124)
    pixels[100:124, 40:58] = 1.0
    if side == "right":
        pixels, box = pixels[:, ::-1], Box(180 - 58, 100, 180 - 40, 124)
    path = write_dicom(tmp_path / "a.dcm", np.round(pixels * 4095).astype(np.uint16), ImagerPixelSpacing=[0.5, 0.5])
    prepared = prepare_image(path, "L", ImagingConfig(height=160, width=120, spacing_mm=spacing, harmonisation="none"))
    bright = prepared.pixels > 4 * 0.85 - 1
    (found,) = prepared.geometry.boxes_to_input([box])
    edges = np.flatnonzero(bright.any(axis=1))[[0, -1]], np.flatnonzero(bright.any(axis=0))[[0, -1]]
    np.testing.assert_allclose([found.y0, found.y1 - 1], edges[0], atol=1.0)
    np.testing.assert_allclose([found.x0, found.x1 - 1], edges[1], atol=1.0)
    values = np.zeros(bright.shape, dtype=np.float32)
    values[round(found.y0) : round(found.y1), round(found.x0) : round(found.x1)] = 1.0
    assert overlap(prepared.geometry.map_to_stored(values) > 0.5, box) > 0.8
