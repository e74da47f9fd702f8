"""The five simulated sites: how their machines picture a breast (acquisition) and whom they see (population).

All values are archetypes tuned for a useful domain shift (PHANTOM §6), not claims about a manufacturer or a hospital.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Intent = Literal["FOR PRESENTATION", "FOR PROCESSING"]
Photometric = Literal["MONOCHROME1", "MONOCHROME2"]


@dataclass(frozen=True)
class DisplayCurve:
    """Display LUT on 0..1: ``gamma`` is x**a; ``sigmoid`` has slope a and centre b, scaled to reach 0 and 1."""

    kind: Literal["gamma", "sigmoid"]
    a: float
    b: float = 0.0


@dataclass(frozen=True)
class Acquisition:
    """A machine with its processing; mm, ``quanta`` per mm², ``offset`` in grey levels, ``span`` of full scale."""

    intent: Intent
    photometric: Photometric
    bits: int
    offset: float
    span: float
    pixel_spacing_mm: float
    field_mm: float
    peripheral: float
    unsharp: float
    unsharp_mm: float
    curves: tuple[tuple[float, DisplayCurve], ...]
    scatter: float
    blur_mm: float
    quanta: float
    correlated_noise: float


@dataclass(frozen=True)
class Population:
    """Whom a site sees; ``density`` is P(BI-RADS a, b, c, d), radius the median in mm, prevalences per breast."""

    density: tuple[float, float, float, float]
    thickness_mm: tuple[float, float]
    lesion_radius_mm: float
    conspicuity: float
    malignant: float
    benign: float
    false_negative: float = 0.0
    false_positive: float = 0.0


@dataclass(frozen=True)
class SiteProfile:
    """One simulated hospital."""

    name: str
    site_id: int
    device: str
    acquisition: Acquisition
    population: Population


def _sigmoid(slope: float, centre: float) -> tuple[tuple[float, DisplayCurve], ...]:
    return ((1.0, DisplayCurve("sigmoid", slope, centre)),)


def _gamma(exponent: float) -> tuple[tuple[float, DisplayCurve], ...]:
    return ((1.0, DisplayCurve("gamma", exponent)),)


REFERENCE = Acquisition(
    "FOR PRESENTATION", "MONOCHROME2", 12, 0, 1.0, 0.07, 240, 0.55, 0.4, 2.0, _sigmoid(3.5, 0.5), 0.25, 0.06, 4e4, 0.0
)
"""The machine that every site has at severity 0."""

SITES: dict[str, SiteProfile] = {
    "MCS": SiteProfile(
        "MCS",
        0,
        "Phantom A",
        Acquisition(
            "FOR PRESENTATION",
            "MONOCHROME2",
            12,
            0,
            0.95,
            0.07,
            240,
            0.75,
            0.5,
            2.0,
            _sigmoid(4.2, 0.55),
            0.25,
            0.06,
            4e4,
            0.0,
        ),
        Population((0.10, 0.40, 0.40, 0.10), (56, 12), 7.0, 0.95, 0.36, 0.20),
    ),
    "TUH": SiteProfile(
        "TUH",
        1,
        "Phantom B",
        Acquisition(
            "FOR PRESENTATION",
            "MONOCHROME1",
            14,
            300,
            0.75,
            0.10,
            230,
            0.35,
            0.15,
            4.0,
            _gamma(0.60),
            0.30,
            0.08,
            3.2e4,
            0.0,
        ),
        Population((0.05, 0.27, 0.48, 0.20), (48, 11), 6.7, 0.9, 0.40, 0.22, 0.02, 0.02),
    ),
    "RAW": SiteProfile(
        "RAW",
        2,
        "Phantom C",
        Acquisition(
            "FOR PROCESSING",
            "MONOCHROME1",
            14,
            0,
            1.0,
            0.085,
            270,
            0.55,
            0.4,
            2.0,
            _sigmoid(3.5, 0.5),
            0.25,
            0.06,
            4e4,
            0.0,
        ),
        Population((0.16, 0.46, 0.32, 0.06), (62, 13), 7.4, 1.0, 0.28, 0.18),
    ),
    "CR": SiteProfile(
        "CR",
        3,
        "Phantom D",
        Acquisition(
            "FOR PRESENTATION",
            "MONOCHROME2",
            10,
            40,
            0.90,
            0.05,
            240,
            0.0,
            1.6,
            1.0,
            _gamma(1.9),
            0.50,
            0.28,
            0.8e4,
            1.0,
        ),
        Population((0.08, 0.35, 0.42, 0.15), (52, 12), 7.4, 1.0, 0.46, 0.20, 0.03, 0.03),
    ),
    "UNSEEN": SiteProfile(
        "UNSEEN",
        4,
        "Phantom E",
        Acquisition(
            "FOR PRESENTATION",
            "MONOCHROME2",
            13,
            500,
            0.70,
            0.085,
            255,
            0.55,
            0.9,
            3.0,
            _sigmoid(5.5, 0.62),
            0.25,
            0.05,
            2e4,
            0.0,
        ),
        Population((0.12, 0.42, 0.36, 0.10), (54, 12), 6.7, 1.0, 0.34, 0.20),
    ),
}

REFERENCE_POPULATION = Population((0.10, 0.38, 0.40, 0.12), (54, 12), 7.0, 0.97, 0.36, 0.20)
"""Whom every site sees at severity 0, where populations are scaled too."""

SHIFTS = ("appearance", "scale", "prevalence", "labels", "structure")
"""Kinds of difference between sites that can be made alone: what the machine does to grey values and sharpness, its
field and pixel spacing, how many masses are malignant or benign, wrong labels at one site, and breasts and masses."""
WRONG_LABELS = {"CR": (0.20, 0.10)}
"""At severity 1 of the shift ``labels``: shares of malignant breasts recorded as benign, and of others as malignant."""
_SCALE = ("pixel_spacing_mm", "field_mm")

_HEADER_SEVERITY = 0.5
"""From this severity on a site has its own intent, photometric interpretation and bit depth; below, the reference's."""


def acquisition_at(site: SiteProfile, severity: float) -> Acquisition:
    """Machine of ``site`` with its distance from :data:`REFERENCE` scaled by ``severity`` in 0..2.

    Numbers move on the line from the reference (0) through the site (1) to twice the distance (2), clipped to what is
    physical; display curves are mixed pointwise. What cannot be interpolated (intent, photometric, bits) is the site's
    from severity 0.5 on. The population never changes.

    Raises:
        ValueError: severity outside 0..2.
    """
    if not 0.0 <= severity <= 2.0:
        raise ValueError(f"severity must be between 0 and 2, not {severity}")
    own = site.acquisition

    def line(name: str, low: float, high: float) -> float:
        start, end = float(getattr(REFERENCE, name)), float(getattr(own, name))
        return min(max(start + severity * (end - start), low), high)

    header = own if severity >= _HEADER_SEVERITY else REFERENCE
    scale = (2**header.bits - 1) / (2**own.bits - 1)
    span = line("span", 0.4, 1.0)
    offset = min(severity * own.offset * scale, (1.0 - span) * (2**header.bits - 1))
    return replace(
        header,
        offset=offset,
        span=span,
        pixel_spacing_mm=line("pixel_spacing_mm", 0.03, 0.2),
        field_mm=line("field_mm", 220, 280),
        peripheral=line("peripheral", 0.0, 1.0),
        unsharp=line("unsharp", 0.0, 4.0),
        unsharp_mm=line("unsharp_mm", 0.5, 8.0),
        curves=(
            *((weight * (1 - severity), curve) for weight, curve in REFERENCE.curves),
            *((weight * severity, curve) for weight, curve in own.curves),
        ),
        scatter=line("scatter", 0.0, 1.0),
        blur_mm=line("blur_mm", 0.02, 0.6),
        quanta=line("quanta", 1e3, 1e6),
        correlated_noise=line("correlated_noise", 0.0, 1.0),
    )


def site_at(name: str, severity: float, shifts: tuple[str, ...] = ()) -> tuple[SiteProfile, Acquisition]:
    """A site and its machine at a severity.

    Without ``shifts`` the machine moves as :func:`acquisition_at` says and the population is the site's own. With some
    of :data:`SHIFTS` sites differ in these kinds alone, machine and population scaled by ``severity`` from the
    references; in all else they are the references.

    Raises:
        ValueError: severity outside 0..2, or an unknown shift.
    """
    site, machine = SITES[name], acquisition_at(SITES[name], severity)
    if not shifts:
        return site, machine
    unknown = set(shifts) - set(SHIFTS)
    if unknown:
        raise ValueError(f"unknown shifts {sorted(unknown)}")
    common = acquisition_at(site, 0.0)
    measures = machine if "scale" in shifts else common
    seen = replace(machine if "appearance" in shifts else common, **{item: getattr(measures, item) for item in _SCALE})
    return replace(site, population=_population_at(site, severity, shifts)), seen


def _population_at(site: SiteProfile, severity: float, shifts: tuple[str, ...]) -> Population:
    start, own = REFERENCE_POPULATION, site.population
    structure = severity if "structure" in shifts else 0.0
    prevalence = severity if "prevalence" in shifts else 0.0

    def line(a: float, b: float, by: float) -> float:
        return max(0.0, a + by * (b - a))

    density = [line(a, b, structure) for a, b in zip(start.density, own.density, strict=True)]
    missed, invented = WRONG_LABELS.get(site.name, (0.0, 0.0)) if "labels" in shifts else (0.0, 0.0)
    a, b, c, d = (share / sum(density) for share in density)
    return Population(
        (a, b, c, d),
        (
            line(start.thickness_mm[0], own.thickness_mm[0], structure),
            line(start.thickness_mm[1], own.thickness_mm[1], structure),
        ),
        line(start.lesion_radius_mm, own.lesion_radius_mm, structure),
        line(start.conspicuity, own.conspicuity, structure),
        line(start.malignant, own.malignant, prevalence),
        line(start.benign, own.benign, prevalence),
        severity * missed,
        severity * invented,
    )


def native_rows(acquisition: Acquisition) -> int:
    """Rows of the matrix at the machine's own pixel spacing."""
    return 4 * round(acquisition.field_mm / acquisition.pixel_spacing_mm / 4)
