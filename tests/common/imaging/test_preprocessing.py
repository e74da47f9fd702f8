"""From file to input: upright, cropped, in place, harmonised; and back to the stored image."""

import numpy as np
import pytest

from common.configuration import ImagingConfig
from common.errors import ManifestError, NoBreastFoundError
from common.imaging.box import Box
from common.imaging.harmonise import OUTSIDE, harmonise
from common.imaging.preprocessing import prepare_image
from common.imaging.resampling import resample, shrink
from tests.common.imaging.mammograms import drawn_breast, write_dicom, write_png

PLAIN = ImagingConfig(height=128, width=96, harmonisation="none")
WINDOWED = ImagingConfig(height=128, width=96, harmonisation="percentile")


def with_square(y0, x0, side=12):
    pixels = drawn_breast()
    pixels[y0 : y0 + side, x0 : x0 + side] = 1.0
    return pixels


def test_input_has_the_frame_the_breast_at_the_left_and_one_value_outside(tmp_path):
    pixels = drawn_breast()
    pixels[10:30, 140:170] = 1.0  # label
    prepared = prepare_image(write_png(tmp_path / "a.png", pixels), "L", WINDOWED)
    assert prepared.pixels.shape == (128, 96) and prepared.pixels.dtype == np.float32
    assert np.isfinite(prepared.pixels).all()
    assert prepared.pixels[64, 0] > OUTSIDE
    assert (prepared.pixels[:12, 60:] == OUTSIDE).all() and (prepared.pixels[:, 80:] == OUTSIDE).all()


def test_aspect_is_kept(tmp_path):
    prepared = prepare_image(write_png(tmp_path / "a.png", drawn_breast()), "L", PLAIN)
    inside = prepared.pixels > OUTSIDE
    height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert height / width == pytest.approx(180 / 100, rel=0.05) and height >= 122


def test_aspect_is_that_of_the_breast_where_rows_lie_farther_apart_than_columns(tmp_path):
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, ImagerPixelSpacing=[0.2, 0.1])
    prepared = prepare_image(path, "L", PLAIN)
    inside = prepared.pixels > OUTSIDE
    assert inside.any(axis=1).sum() / inside.any(axis=0).sum() == pytest.approx(360 / 100, rel=0.07)
    assert prepared.spacing_mm[0] == pytest.approx(prepared.spacing_mm[1], rel=0.03)


@pytest.mark.parametrize("imaging", [PLAIN, WINDOWED])
def test_side_and_polarity_of_the_file_make_no_difference(tmp_path, imaging):
    pixels = drawn_breast()
    reference = prepare_image(write_png(tmp_path / "a.png", pixels), "L", imaging).pixels
    for name, stored, laterality in (("b", pixels[:, ::-1], "R"), ("c", 1 - pixels, "L"), ("d", pixels[:, ::-1], "L")):
        other = prepare_image(write_png(tmp_path / f"{name}.png", stored), laterality, imaging)
        np.testing.assert_allclose(other.pixels, reference, atol=0.02)
        assert other.geometry.inverted == (name == "c") and other.geometry.mirrored == (name != "c")


@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_lie_where_the_lesion_is_drawn(tmp_path, mirrored):
    pixels, box = with_square(100, 40), Box(40, 100, 52, 112, "malignant")
    if mirrored:
        pixels, box = pixels[:, ::-1], Box(180 - 52, 100, 180 - 40, 112, "malignant")
    prepared = prepare_image(write_png(tmp_path / "a.png", pixels), "R", PLAIN)
    rows, columns = np.nonzero(prepared.pixels > 2.6)  # 4 x - 1 at x = 0.9: the square alone
    (found,) = prepared.geometry.boxes_to_input([box])
    drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose((found.x0, found.y0, found.x1, found.y1), drawn, atol=1.0)
    assert found.label == "malignant"


def test_boxes_outside_the_crop_fall_away_and_others_are_cut_at_its_edge(tmp_path):
    geometry = prepare_image(write_png(tmp_path / "a.png", drawn_breast()), "L", PLAIN).geometry
    assert geometry.boxes_to_input([Box(150, 5, 170, 15)]) == []
    (cut,) = geometry.boxes_to_input([Box(0, 0, 20, 60)])
    assert cut.y0 >= 0 and cut.y1 > cut.y0


@pytest.mark.parametrize("mirrored", [False, True])
def test_maps_go_back_to_the_stored_pixels(tmp_path, mirrored):
    pixels = with_square(100, 40)[:, :: -1 if mirrored else 1]
    prepared = prepare_image(write_png(tmp_path / "a.png", pixels), "L", PLAIN)
    back = prepared.geometry.map_to_stored((prepared.pixels > 2.6).astype(np.float32))
    assert back.shape == pixels.shape
    found, truth = back > 0.5, pixels > 0.95
    assert (found & truth).sum() / (found | truth).sum() > 0.75


@pytest.mark.parametrize("spacing", [0.5, 1.0])
def test_fixed_spacing_shows_the_breast_in_its_true_size(tmp_path, spacing):
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, ImagerPixelSpacing=[0.5, 0.5])
    prepared = prepare_image(path, "L", ImagingConfig(height=256, width=192, spacing_mm=spacing, harmonisation="none"))
    inside = prepared.pixels > OUTSIDE
    assert inside.any(axis=1).sum() * spacing == pytest.approx(90, abs=4)  # 180 pixels of 0.5 mm
    assert inside.any(axis=0).sum() * spacing == pytest.approx(50, abs=4)
    assert prepared.spacing_mm == pytest.approx((spacing, spacing), rel=0.02)
    assert inside[128].any() and abs(np.nonzero(inside.any(axis=1))[0].mean() - 127.5) < 3


def test_fixed_spacing_cuts_what_does_not_fit_around_the_middle_of_the_breast(tmp_path):
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, ImagerPixelSpacing=[0.5, 0.5])
    prepared = prepare_image(path, "L", ImagingConfig(height=64, width=48, spacing_mm=0.5))
    x0, y0, x1, y1 = prepared.geometry.crop
    assert (x0, x1 - x0, y1 - y0) == pytest.approx((0, 48, 64), abs=1) and (y0 + y1) / 2 == pytest.approx(120, abs=3)


def test_fixed_spacing_needs_a_spacing_from_header_or_manifest(tmp_path):
    path = write_png(tmp_path / "a.png", drawn_breast())
    imaging = ImagingConfig(height=256, width=192, spacing_mm=1.0)
    with pytest.raises(ManifestError, match="spacing"):
        prepare_image(path, "L", imaging)
    assert prepare_image(path, "L", imaging, spacing_mm=0.5).spacing_mm == pytest.approx((1.0, 1.0), rel=0.02)


def test_a_blank_image_is_refused_by_name(tmp_path):
    with pytest.raises(NoBreastFoundError, match=r"a\.png"):
        prepare_image(write_png(tmp_path / "a.png", np.zeros((64, 48))), "L", PLAIN)


def test_shrinking_averages_instead_of_picking():
    stripes = np.tile(np.array([0.0, 1.0], dtype=np.float32), (64, 32))
    np.testing.assert_allclose(resample(stripes, 8, 8)[:, 1:-1], 0.5, atol=0.02)
    np.testing.assert_allclose(shrink(stripes, 16), 0.5, atol=1e-6)


def test_percentile_harmonisation_undoes_gain_and_offset():
    pixels = drawn_breast()
    breast = pixels > 0.2
    np.testing.assert_allclose(
        harmonise(0.5 * pixels + 0.3, breast, "percentile"), harmonise(pixels, breast, "percentile"), atol=1e-3
    )


def test_a_bright_lesion_does_not_darken_the_rest_of_the_breast():
    """PHANTOM.md, section 7: a window that sees the lesion betrays it. The usual maximum window does."""
    pixels = drawn_breast()
    breast = pixels > 0.2
    lesion = pixels.copy()
    lesion[110:130, 30:50] += 0.3
    elsewhere = breast & (lesion == pixels)
    shift = np.abs(harmonise(lesion, breast, "percentile") - harmonise(pixels, breast, "percentile"))[elsewhere].mean()
    by_maximum = np.abs(lesion / lesion.max() - pixels / pixels[breast].max())[elsewhere].mean()
    assert shift / 8 < 0.005 < 0.05 < by_maximum  # of the range -3..5


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_harmonisation_of_one_value_stays_finite(value):
    pixels = np.full((8, 6), value, dtype=np.float32)
    assert np.isfinite(harmonise(pixels, np.ones((8, 6), dtype=bool), "percentile")).all()
    assert (harmonise(pixels, np.zeros((8, 6), dtype=bool), "percentile") == OUTSIDE).all()
