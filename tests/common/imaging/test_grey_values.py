"""Stored values to grey values by the formulas of DICOM PS3.3 C.11.2.1.2, also where headers are odd."""

import numpy as np
import pytest

from common.imaging.reading import read_image
from tests.common.imaging.mammograms import drawn_breast, write_dicom

CENTRE, WIDTH = 1500.0, 1000.0


@pytest.fixture
def stored():
    return np.round(drawn_breast() * 4095).astype(np.uint16)


def linear(values, centre=CENTRE, width=WIDTH):
    """C.11.2.1.2.1."""
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def grey(tmp_path, stored, **settings):
    return read_image(write_dicom(tmp_path / "a.dcm", stored, **settings)).pixels


def windowed(**more):
    return {"WindowCenter": CENTRE, "WindowWidth": WIDTH, **more}


def test_exact_linear_window_has_no_half_pixel(tmp_path, stored):
    """C.11.2.1.3.2; it differs from LINEAR by more than the tolerance."""
    expected = np.clip((stored - CENTRE) / WIDTH + 0.5, 0, 1)
    assert np.abs(expected - linear(stored)).max() > 4e-4
    np.testing.assert_allclose(grey(tmp_path, stored, **windowed(VOILUTFunction="LINEAR_EXACT")), expected, atol=1e-5)


def test_window_of_monochrome1_is_applied_before_the_inversion(tmp_path, stored):
    pixels = grey(tmp_path, stored, photometric="MONOCHROME1", **windowed())
    np.testing.assert_allclose(pixels, 1 - linear(stored), atol=1e-5)


def test_first_of_several_windows_counts(tmp_path, stored):
    pixels = grey(tmp_path, stored, WindowCenter=[CENTRE, 7.0], WindowWidth=[WIDTH, 9.0])
    np.testing.assert_allclose(pixels, linear(stored), atol=1e-5)


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, 0.0), (1.0, -1024.0), (-1.0, 4095.0), (-0.5, 10.0)])
@pytest.mark.parametrize("signed", [False, True])
def test_window_is_meant_for_rescaled_values(tmp_path, stored, slope, intercept, signed):
    raw = stored.astype(np.int16) - 2048 if signed else stored
    values = raw * slope + intercept
    centre, width = float(np.median(values)) + 100, 900.0
    pixels = grey(tmp_path, raw, RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=centre, WindowWidth=width)
    np.testing.assert_allclose(pixels, linear(values, centre, width), atol=1e-5)


def test_negative_slope_without_window_turns_the_picture(tmp_path, stored):
    pixels = grey(tmp_path, stored, RescaleSlope=-1.0, RescaleIntercept=4095.0)
    np.testing.assert_allclose(pixels, (4095.0 - stored) / 4095, atol=1e-6)


@pytest.mark.parametrize("names", [["RescaleSlope", "RescaleIntercept"], ["WindowCenter", "WindowWidth"]])
def test_emptied_attributes_count_as_not_there(tmp_path, stored, names):
    np.testing.assert_allclose(grey(tmp_path, stored, **dict.fromkeys(names)), stored / 4095, atol=1e-6)


def test_emptied_window_function_is_linear(tmp_path, stored):
    np.testing.assert_allclose(grey(tmp_path, stored, **windowed(VOILUTFunction=None)), linear(stored), atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_logarithmic_processing_values_only_need_their_sign(tmp_path, stored, sign, photometric):
    raw = 4095 - stored if sign == 1 else stored
    settings = {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": sign}
    pixels = grey(tmp_path, raw, intent="FOR PROCESSING", photometric=photometric, **settings)
    np.testing.assert_allclose(pixels, stored / 4095, atol=1e-6)


def test_linear_processing_values_of_either_sign_give_one_picture(tmp_path):
    exposure = np.round(16383 * np.exp(-4 * drawn_breast())).astype(np.uint16)
    pictures = [
        grey(tmp_path, raw, bits=14, intent="FOR PROCESSING", PixelIntensityRelationshipSign=sign)
        for raw, sign in ((exposure, 1), (16383 - exposure, -1))
    ]
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-6)
    np.testing.assert_allclose(pictures[0], 4 * drawn_breast() / np.log(16383), atol=2e-3)


def test_a_range_of_padding_becomes_air(tmp_path, stored):
    stored[:, -20:] = np.arange(3990, 4010)
    pixels = grey(tmp_path, stored, PixelPaddingValue=3990, PixelPaddingRangeLimit=4009)
    assert (pixels[:, -20:] == 0).all() and pixels[120, 40] > 0.3
