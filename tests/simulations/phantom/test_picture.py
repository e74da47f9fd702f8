"""What a phantom picture promises: exact density, true millimetres, severity of the machine alone, right polarity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from simulations.phantom.difficulty import DEFAULT
from simulations.phantom.frame import Frame, resample
from simulations.phantom.lesion import draw_shape
from simulations.phantom.noise import Band, blur, power_law
from simulations.phantom.patient import Mass, Place, draw_patient
from simulations.phantom.render import render_view
from simulations.phantom.sites import REFERENCE, SITES, acquisition_at, native_rows
from simulations.phantom.skin_marker import RADIUS_MM, WIRE_MM
from simulations.phantom.vendor import curve, decode


def test_noise_has_the_asked_variance_and_spectrum() -> None:
    field = power_law(np.random.default_rng(0), (512, 512), 0.5, (Band(2.0, 3.0, 10.0),))
    assert field.std() == pytest.approx(2.0, rel=0.15)
    power = np.abs(np.fft.fft2(field)) ** 2
    f = np.hypot(np.fft.fftfreq(512, 0.5)[:, None], np.fft.fftfreq(512, 0.5)[None, :])
    low, high = power[(f > 0.28) & (f < 0.32)].mean(), power[(f > 0.56) & (f < 0.64)].mean()
    assert np.log2(low / high) == pytest.approx(3.0, abs=0.3)


def test_fast_blur_agrees_with_the_plain_one() -> None:
    field = np.random.default_rng(1).standard_normal((200, 160)).astype(np.float32)
    frame = Frame(200, 160, 0.5, 0.0)
    plain = gaussian_filter(field, 24.0, mode="nearest")
    assert np.abs(blur(field, frame, 12.0) - plain)[50:-50, 50:-50].max() < 0.2 * plain.std()


def test_resampling_keeps_straight_lines() -> None:
    source, target = Frame(60, 50, 0.5, -10.0), Frame(70, 60, 0.4, -10.0)
    ramp = (2 * source.x()[None, :] - source.y()[:, None]).astype(np.float32)
    expected = 2 * target.x()[None, :] - target.y()[:, None]
    assert np.abs(resample(ramp, source, target) - expected)[4:-4, 4:-4].max() < 1e-3


def test_the_same_breast_at_any_matrix_size() -> None:
    patient = next(p for i in range(50) if (p := draw_patient(SITES["MCS"], i, 0, DEFAULT)).mass is not None)
    acquisition = acquisition_at(patient.site, 1.0)
    small = render_view(patient, "MLO", acquisition, rows=256)
    large = render_view(patient, "MLO", acquisition, rows=512)
    assert small.box is not None
    assert large.box is not None
    assert np.abs(np.array(large.box) / 2 - np.array(small.box)).max() <= 2
    halved = decode(large.stored, acquisition).reshape(256, 2, 192, 2).mean(axis=(1, 3))
    both = small.breast
    assert np.corrcoef(halved[both], decode(small.stored, acquisition)[both])[0, 1] > 0.98


@pytest.mark.parametrize("rows", [256, 1024])
def test_a_skin_marker_is_a_whole_ring_in_the_breast_and_away_from_the_mass(rows: int) -> None:
    patient = next(p for i in range(50) if (p := draw_patient(SITES["TUH"], i, 0, DEFAULT)).mass is not None)
    plain = render_view(patient, "CC", REFERENCE, rows=rows)
    ringed = render_view(patient, "CC", REFERENCE, rows=rows, skin_marker=True)
    change = decode(ringed.stored, REFERENCE).astype(float) - decode(plain.stored, REFERENCE).astype(float)
    ring = change > 0.1 * change.max()  # over bright tissue there is less left to add
    assert plain.box == ringed.box and ring[plain.breast].sum() == ring.sum() > 0
    assert label(ring, np.ones((3, 3)))[1] == 1 and label(~ring)[1] == 2, "one ring, with an inside"
    rows_of, columns_of = np.nonzero(ring)
    assert np.ptp(rows_of) * plain.spacing_mm == pytest.approx(2 * RADIUS_MM + WIRE_MM, abs=2 * plain.spacing_mm)
    assert np.ptp(columns_of) * plain.spacing_mm == pytest.approx(2 * RADIUS_MM + WIRE_MM, abs=2 * plain.spacing_mm)
    assert not (ring & plain.core).any()


def test_both_sides_keep_the_chest_wall_where_the_header_says() -> None:
    for index in range(6):
        patient = draw_patient(SITES["MCS"], index, 0, DEFAULT)
        breast = render_view(patient, "CC", REFERENCE, rows=128).breast
        chest, far = (breast[:, 0], breast[:, -1]) if patient.laterality == "L" else (breast[:, -1], breast[:, 0])
        assert chest.sum() > 50
        assert not far.any()


def test_severity_zero_is_one_machine_everywhere() -> None:
    curves = [curve(acquisition_at(site, 0.0)) for site in SITES.values()]
    for site, sampled in zip(SITES.values(), curves, strict=True):
        machine = acquisition_at(site, 0.0)
        same = ("intent", "photometric", "bits", "offset", "span", "field_mm", "unsharp", "scatter", "quanta")
        assert all(getattr(machine, name) == getattr(REFERENCE, name) for name in same)
        assert np.array_equal(sampled, curves[0])


@pytest.mark.parametrize("severity", [0.3, 1.0, 2.0])
def test_severity_changes_the_machine_and_not_the_patient(severity: float) -> None:
    for site in SITES.values():
        machine = acquisition_at(site, severity)
        assert (np.diff(curve(machine)) >= 0).all()
        assert machine.offset + machine.span * (2**machine.bits - 1) <= 2**machine.bits
        picture = render_view(draw_patient(site, 0, 0, DEFAULT), "CC", machine, rows=128)
        assert picture.stored[picture.breast].std() > 0
    own = acquisition_at(SITES["TUH"], 1.0)
    assert (own.field_mm, own.bits, own.offset) == (230, 14, 300)


def test_severity_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 2"):
        acquisition_at(SITES["MCS"], -0.1)


def test_native_matrix_has_the_detector_spacing() -> None:
    for site in SITES.values():
        spacing = site.acquisition.field_mm / native_rows(site.acquisition)
        assert spacing == pytest.approx(site.acquisition.pixel_spacing_mm, rel=0.01)


def test_malignant_masses_have_spicules_and_benign_ones_hardly_any() -> None:
    def number(z: float) -> float:
        mass = Mass(Place(0.5, 0.0, 0.0), 7.0, z, 0.8, 1.0)
        rng = np.random.default_rng(0)
        return float(np.mean([len(draw_shape(mass, 0, 0, rng, DEFAULT).spicules) for _ in range(50)]))

    assert number(2.0) > 15
    assert number(-2.0) < 2
