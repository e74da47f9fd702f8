"""Grey values are mapped by lines that no bright lesion can move (docs/phantom.md)."""

import numpy as np
import pytest

from common.imaging.harmonise import BRIGHTEST, DARKEST, OUTSIDE, harmonise
from common.models.classifier import AIR
from tests.common.imaging.mammograms import drawn_breast

METHODS = ["none", "percentile"]


@pytest.fixture
def pixels():
    return drawn_breast()


@pytest.fixture
def breast(pixels):
    return pixels > 0.2


def test_none_is_the_same_line_for_every_image(pixels, breast):
    np.testing.assert_allclose(harmonise(pixels, breast, "none")[breast], (4 * pixels - 1)[breast], atol=1e-6)


def test_percentile_puts_the_median_at_zero_and_measures_in_half_the_lower_spread(pixels, breast):
    low, middle, upper = np.quantile(pixels[breast], (0.1, 0.5, 0.7))
    mapped = harmonise(pixels, breast, "percentile")[breast]
    assert np.median(mapped) == pytest.approx(0, abs=1e-3)
    expected = np.clip((pixels[breast] - middle) / ((upper - low) / 2), DARKEST, BRIGHTEST)
    np.testing.assert_allclose(mapped, expected, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_grey_values_is_kept_and_air_is_one_value(pixels, breast, method):
    mapped = harmonise(pixels, breast, method)
    order = np.argsort(pixels[breast])
    assert (np.diff(mapped[breast][order]) >= 0).all() and mapped.dtype == np.float32
    assert (mapped[~breast] == OUTSIDE).all() and mapped.max() <= BRIGHTEST


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.0), (0.5, 0.3), (0.1, 0.8)])
def test_percentile_undoes_gain_and_offset(pixels, breast, gain, offset):
    np.testing.assert_allclose(
        harmonise(gain * pixels + offset, breast, "percentile"), harmonise(pixels, breast, "percentile"), atol=1e-3
    )


def moved(twin, pixels, elsewhere, window):
    """Mean shift of untouched tissue, in spreads of that tissue."""
    before, after = window(pixels), window(twin)
    return np.abs(after - before)[elsewhere].mean() / before[elsewhere].std()


@pytest.mark.parametrize("place", [(120, 20), (80, 40), (150, 50)])
def test_twin_with_a_very_bright_lesion_keeps_its_background(pixels, breast, place):
    y, x = np.mgrid[:240, :180]
    lesion = ((y - place[0]) ** 2 + (x - place[1]) ** 2 < 11**2) & breast
    assert 0.02 < lesion.sum() / breast.sum() < 0.03
    twin = np.where(lesion, 1.0, pixels).astype(np.float32)
    elsewhere = breast & ~lesion

    def percentile(image):
        return harmonise(image, breast, "percentile")

    def up_to(quantile):
        return lambda image: (image - image[breast].min()) / np.quantile(image[breast], quantile)

    ours = moved(twin, pixels, elsewhere, percentile)
    assert ours < 0.1
    assert moved(twin, pixels, elsewhere, up_to(1.0)) > 4 * ours and moved(twin, pixels, elsewhere, up_to(0.99)) > 0.4


def test_unknown_method_is_refused(pixels, breast):
    with pytest.raises(ValueError, match="landmarks"):
        harmonise(pixels, breast, "landmarks")


def test_local_contrast_keeps_what_is_small_and_drops_what_is_wide(breast):
    y, x = np.mgrid[:240, :180]
    wide = 0.4 + 0.001 * x + 0.0008 * y  # a density that only drifts
    spot = 0.1 * np.exp(-((x - 30) ** 2 + (y - 120) ** 2) / (2 * 2.0**2))
    image = (wide + spot).astype(np.float32)
    middle = breast & (np.hypot(x - 30, y - 120) < 12)
    mapped = harmonise(image, breast, "local_contrast")
    flat = harmonise(wide.astype(np.float32), breast, "local_contrast")
    assert np.abs(flat[middle]).max() < 0.5, "the drift is gone"
    peak = np.unravel_index(np.where(middle, mapped, -9).argmax(), mapped.shape)
    assert np.hypot(peak[0] - 120, peak[1] - 30) <= 1.5
    assert mapped[120, 30] > 4 * np.abs(flat[middle]).max()


def test_local_contrast_leaves_distant_tissue_alone_when_a_lesion_appears(pixels, breast):
    y, x = np.mgrid[:240, :180]
    lesion = (np.hypot(y - 120, x - 20) < 11) & breast
    twin = np.where(lesion, 1.0, pixels).astype(np.float32)
    far = breast & (np.hypot(y - 120, x - 20) > 45)
    before, after = (harmonise(image, breast, "local_contrast") for image in (pixels, twin))
    assert np.abs(after - before)[far].mean() < 0.1 * before[far].std()


@pytest.mark.parametrize("method", [*METHODS, "local_contrast"])
def test_the_darkest_tissue_is_never_taken_for_air(pixels, breast, method):
    holes = pixels.copy()
    holes[np.nonzero(breast)[0][::50], np.nonzero(breast)[1][::50]] = 0.0
    mapped = harmonise(holes, breast, method).astype(np.float16).astype(np.float32)
    assert (mapped[breast] > AIR).all() and (mapped[~breast] <= AIR).all()
