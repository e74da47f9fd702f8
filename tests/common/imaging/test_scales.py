"""Landmarks and amplitudes: images of all sites come to one scale, and neither lesion nor file format moves it."""

import numpy as np
import pytest

from common.configuration import ImagingConfig, load_run
from common.errors import ConfigurationError
from common.imaging.amplitude import HORIZONTAL, SIZE, STRONGEST, VERTICAL
from common.imaging.harmonise import BRIGHTEST, DARKEST, OUTSIDE, SCALED, harmonise, statistics
from common.imaging.landmarks import LEVELS, STEEPEST
from common.imaging.preprocessing import prepare_image
from tests.common.imaging.mammograms import drawn_breast, write_dicom, write_png

FRAME = (240, 180)
FLAT = [0.02] * SIZE
EVEN = np.linspace(-2.5, 1.5, len(LEVELS)).tolist()


@pytest.fixture
def pixels():
    return drawn_breast()


@pytest.fixture
def breast():
    return drawn_breast() > 0.2


def curve(pixels, gamma):
    """Another machine's response: increasing, with the same ends."""
    return (pixels**gamma).astype(np.float32)


def wasserstein(one, other):
    """Of two samples of the same size, from the sorted values themselves."""
    return np.abs(np.sort(one) - np.sort(other)).mean()


@pytest.mark.parametrize("method", SCALED)
def test_a_scale_that_is_the_images_own_leaves_it_as_percentile_does(pixels, breast, method):
    own = statistics(pixels, breast, method)
    np.testing.assert_allclose(
        harmonise(pixels, breast, method, own), harmonise(pixels, breast, "percentile"), atol=2e-5
    )


@pytest.mark.parametrize("scale", [EVEN, [*np.linspace(-4, -3, 8), 3.0], list(np.geomspace(0.01, 9, 9))])
def test_landmarks_never_change_the_order_of_grey_values(pixels, breast, scale):
    mapped = harmonise(pixels, breast, "landmarks", scale)
    order = np.argsort(pixels[breast])
    assert (np.diff(mapped[breast][order]) >= -1e-6).all()
    assert (mapped[~breast] == OUTSIDE).all() and mapped[breast].min() >= DARKEST and mapped.max() <= BRIGHTEST


def test_every_landmark_comes_to_its_place_on_the_scale(pixels, breast):
    mapped = harmonise(pixels, breast, "landmarks", EVEN)
    np.testing.assert_allclose(np.quantile(mapped[breast], LEVELS), EVEN, atol=0.02)


def test_beyond_the_outer_landmarks_the_outer_slope_goes_on_within_bounds(pixels, breast):
    standard = harmonise(pixels, breast, "percentile")
    own = statistics(pixels, breast, "landmarks")
    scale = own.copy()
    scale[-1] = own[-2] + 2.0 * (own[-1] - own[-2])  # the last stretch twice as long
    top = breast & (standard > own[-1] + 0.05) & (standard < own[-1] + 0.5)
    assert top.sum() > 50
    expected = scale[-1] + 2.0 * (standard[top] - own[-1])
    np.testing.assert_allclose(harmonise(pixels, breast, "landmarks", scale)[top], expected, atol=1e-3)
    scale[-1] = own[-2] + 100.0 * (own[-1] - own[-2])
    mapped = harmonise(np.where(breast, pixels, 0), breast, "landmarks", scale)[top]
    unclipped = np.minimum(scale[-1] + STEEPEST * (standard[top] - own[-1]), BRIGHTEST)
    np.testing.assert_allclose(mapped, unclipped, atol=1e-3)


@pytest.mark.parametrize("gamma", [0.5, 1.9])
def test_sites_with_other_response_curves_look_alike_afterwards(pixels, breast, gamma):
    other = curve(pixels, gamma)
    scale = (statistics(pixels, breast, "landmarks") + statistics(other, breast, "landmarks")) / 2

    def apart(method, scale=()):
        return wasserstein(*(harmonise(image, breast, method, scale)[breast] for image in (pixels, other)))

    assert apart("percentile") > 0.05, "gain and offset do not explain a curve"
    assert apart("landmarks", scale) < 0.25 * apart("percentile")


@pytest.mark.parametrize("method", SCALED)
@pytest.mark.parametrize("place", [(120, 20), (80, 40), (150, 50)])
def test_twin_with_a_very_bright_lesion_keeps_its_background(pixels, breast, place, method):
    y, x = np.mgrid[:240, :180]
    lesion = ((y - place[0]) ** 2 + (x - place[1]) ** 2 < 11**2) & breast
    assert 0.02 < lesion.sum() / breast.sum() < 0.03
    twin = np.where(lesion, 1.0, pixels).astype(np.float32)
    elsewhere = breast & ~lesion
    scale = statistics(curve(pixels, 1.5), breast, method, FRAME)
    before, after = (harmonise(image, breast, method, scale, FRAME)[elsewhere] for image in (pixels, twin))
    assert np.abs(after - before).mean() / before.std() < 0.1


def test_amplitudes_of_high_frequencies_are_untouched(pixels, breast):
    standard = harmonise(pixels, breast, "percentile", frame=FRAME)
    whole = np.ones_like(breast)  # all counts as breast, so that nothing is cut off afterwards
    scale = 1.3 * statistics(pixels, whole, "amplitude")
    before, after = (harmonise(pixels, whole, *how) for how in (("percentile",), ("amplitude", scale)))
    assert before.min() > DARKEST and after.max() < BRIGHTEST, "nothing was clipped"
    change = np.fft.rfft2(after.astype(np.float64) - before)
    down, across = np.meshgrid(np.fft.fftfreq(240, 1 / 240), np.arange(91), indexing="ij")
    low = (np.abs(down) <= VERTICAL) & (across <= HORIZONTAL)
    assert np.abs(change[low]).max() > 1.0 and np.abs(change[0, 0]) < 0.05
    assert np.abs(change[~low]).max() < 0.05
    assert standard.shape == after.shape


def test_amplitudes_come_to_the_scale_but_by_no_more_than_the_largest_factor(pixels, breast):
    # values within the cut, so that measuring and changing see the same
    y, x = np.mgrid[:240, :180]
    wave = (0.5 + 0.2 * np.sin(2 * np.pi * 3 * y / 240) + 0.02 * np.cos(2 * np.pi * 2 * x / 180)).astype(np.float32)
    everywhere = np.ones(wave.shape, dtype=bool)
    own = statistics(wave, everywhere, "amplitude", FRAME)
    for factor, gained in ((1.2, 1.2), (0.8, 0.8), (10.0, STRONGEST), (0.01, 1 / STRONGEST)):
        before, after = (
            np.abs(np.fft.rfft2(harmonise(wave, everywhere, method, scale, FRAME)))[3, 0]
            for method, scale in (("percentile", ()), ("amplitude", factor * own))
        )
        # the wave is cut at one spread where it is measured and changed, so a little less than the whole moves
        assert abs((after / before - 1) / (gained - 1) - 1) < 0.35


def test_a_right_breast_gets_the_same_amplitudes_as_its_mirror_image(tmp_path, pixels):
    y, x = np.mgrid[:240, :180]
    slanted = np.where(pixels > 0.2, pixels + 0.1 * np.sin((x + y) / 25), pixels).clip(0, 1)
    scale = list(np.linspace(0.01, 0.3, SIZE))
    imaging = ImagingConfig(height=128, width=96, harmonisation="amplitude", standard_scale=scale)
    left = prepare_image(write_png(tmp_path / "left.png", slanted), "L", imaging)
    right = prepare_image(write_png(tmp_path / "right.png", slanted[:, ::-1]), "R", imaging)
    np.testing.assert_allclose(left.pixels, right.pixels, atol=0.02)


@pytest.mark.parametrize(("method", "scale"), [("landmarks", EVEN), ("amplitude", FLAT)])
def test_files_of_any_depth_and_format_come_to_the_same_picture(tmp_path, pixels, method, scale):
    imaging = ImagingConfig(height=128, width=96, harmonisation=method, standard_scale=scale)
    deep = prepare_image(write_png(tmp_path / "16.png", pixels), "L", imaging).pixels
    for bits in (10, 12, 14):
        stored = np.round(pixels * (2**bits - 1)).astype(np.uint16)
        found = prepare_image(write_dicom(tmp_path / f"{bits}.dcm", stored, bits=bits), "L", imaging).pixels
        assert np.median(np.abs(found - deep)) < 0.02, bits
    inverted = np.round((1 - pixels) * 4095).astype(np.uint16)
    found = prepare_image(write_dicom(tmp_path / "m1.dcm", inverted, photometric="MONOCHROME1"), "L", imaging).pixels
    assert np.median(np.abs(found - deep)) < 0.02
    found = prepare_image(write_png(tmp_path / "8.png", pixels, 8), "L", imaging).pixels
    assert np.median(np.abs(found - deep)) < 0.1


@pytest.mark.parametrize("method", SCALED)
def test_flat_and_empty_pictures_stay_finite(method):
    scale = EVEN if method == "landmarks" else FLAT
    flat = np.full((40, 30), 0.5, dtype=np.float32)
    for breast in (flat > 0, flat > 1):
        assert np.isfinite(harmonise(flat, breast, method, scale)).all()


@pytest.mark.parametrize(
    ("method", "scale", "said"),
    [
        ("landmarks", EVEN[:-1], "9 numbers"),
        ("landmarks", EVEN[::-1], "increase"),
        ("landmarks", [*EVEN[:-1], float("nan")], "finite"),
        ("amplitude", EVEN, "31 numbers"),
        ("amplitude", [0.0] * SIZE, "positive"),
        ("percentile", EVEN, "no scale"),
    ],
)
def test_a_scale_of_another_method_is_refused_before_anything_is_made_of_it(method, scale, said):
    with pytest.raises(ConfigurationError, match=said):
        load_run("tiny", [f"imaging.harmonisation={method}", f"imaging.standard_scale={scale}"])
