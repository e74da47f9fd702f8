"""How far two sites are apart, by what they tell: pure functions of two reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.comparison import LEVELS
from common.protocol import ShiftReport

COVERED = 0.8
"""Mixes are compared where sites tell them of so large a share of their images or breasts."""
FINE = np.linspace(LEVELS[0], LEVELS[-1], 981)


@dataclass(frozen=True)
class Difference:
    """Of two shares, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Distance:
    """Of two sites. ``None`` where one of them does not tell."""

    first: str
    second: str
    intensity: float | None
    """Wasserstein distance of grey values as stored, share of full scale."""
    response: float | None
    """The same of standardised values, spreads of the tissue: what gain and offset do not explain."""
    prepared: float | None
    """The same of what the network sees."""
    scale: float | None
    """Absolute logarithm of the ratio of the input's pixel spacings."""
    prevalence: Difference | None
    """Share of malignant breasts, first less second."""
    views: float | None
    """Total variation between the shares of the projections."""
    densities: float | None
    """Likewise of the densities."""
    features: float | None
    """Of the model's pooled features, spreads within a site (root mean over features)."""


def distances(told: Mapping[str, ShiftReport]) -> list[Distance]:
    """Of every pair of sites, in their order."""
    return [_distance(first, second, told[first], told[second]) for first, second in combinations(told, 2)]


def _distance(first: str, second: str, one: ShiftReport, other: ShiftReport) -> Distance:
    spacings = (one.input_spacing_mm, other.input_spacing_mm)
    return Distance(
        first,
        second,
        intensity=wasserstein(one.stored, other.stored),
        response=wasserstein(one.standardised, other.standardised),
        prepared=wasserstein(one.prepared, other.prepared),
        scale=abs(math.log(spacings[0][1] / spacings[1][1])) if all(spacings) else None,
        prevalence=None
        if one.malignant is None or other.malignant is None
        else newcombe(one.malignant, one.breasts, other.malignant, other.breasts),
        views=_mix((one.views, one.images), (other.views, other.images)),
        densities=_mix((one.densities, one.breasts), (other.densities, other.breasts)),
        features=frechet(one, other),
    )


def _mix(*told: tuple[Mapping[str, int], int]) -> float | None:
    """Not where small cells that were kept back, or unknown ones, could make the difference."""
    if any(sum(counts.values()) < COVERED * total for counts, total in told):
        return None
    return total_variation(*(counts for counts, _ in told))


def wasserstein(one: Sequence[float], other: Sequence[float]) -> float | None:
    """First Wasserstein distance on a line: the mean absolute difference of the quantile functions.

    Between the levels the functions are taken to be straight; the outer 1 % on either side are left out.

    Args:
        one: quantiles at :data:`common.comparison.LEVELS`, or nothing.
        other: likewise.
    """
    if not one or not other:
        return None
    gap = np.abs(np.interp(FINE, LEVELS, one) - np.interp(FINE, LEVELS, other))
    return float(np.trapezoid(gap, FINE) / (FINE[-1] - FINE[0]))


def total_variation(one: Mapping[str, int], other: Mapping[str, int]) -> float | None:
    """Half the sum of the absolute differences of the shares: the share that would have to change."""
    if not one or not other:
        return None
    sums = (sum(one.values()), sum(other.values()))
    return 0.5 * math.fsum(abs(one.get(name, 0) / sums[0] - other.get(name, 0) / sums[1]) for name in {*one, *other})


def newcombe(hits: int, of: int, other_hits: int, other_of: int) -> Difference | None:
    """Difference of two independent shares with its 95 % interval.

    Source: Newcombe 1998, Statist. Med. 17:873, method 10 (Wilson's limits of both shares, combined).
    """
    if not of or not other_of:
        return None
    share, low, high = _wilson(hits, of)
    other, other_low, other_high = _wilson(other_hits, other_of)
    value = share - other
    return Difference(
        value,
        value - math.hypot(share - low, other_high - other),
        value + math.hypot(high - share, other - other_low),
    )


def _wilson(hits: int, of: int, z: float = 1.959963984540054) -> tuple[float, float, float]:
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return share, middle - half, middle + half


def frechet(one: ShiftReport, other: ShiftReport) -> float | None:
    """Fréchet distance of diagonal Gaussians, each feature in units of its spread within a site.

    sqrt(mean over features of ((m1 - m2)^2 + (s1 - s2)^2) / v), v the mean of both variances, less what is to be
    expected of two samples of one site, 3/2 (1/n1 + 1/n2), and not below 0. Features that never vary are left out.
    Source: Fréchet 1957 for Gaussians; as a distance of images Heusel et al. 2017, arXiv 1706.08500 (there with the
    full covariance, which so few patients cannot give).
    """
    if not one.feature_mean or not other.feature_mean:
        return None
    mean, other_mean = np.array(one.feature_mean), np.array(other.feature_mean)
    variance, other_variance = np.array(one.feature_variance), np.array(other.feature_variance)
    common = (variance + other_variance) / 2
    varies = common > 1e-12
    if not varies.any():
        return None
    squares = ((mean - other_mean) ** 2 + (np.sqrt(variance) - np.sqrt(other_variance)) ** 2)[varies] / common[varies]
    chance = 1.5 * (1 / one.feature_patients + 1 / other.feature_patients)
    return float(math.sqrt(max(0.0, float(squares.mean()) - chance)))
