"""Free-response ROC: sensitivity against false positives an image, per lesion and per breast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import percentile_interval, resampled_counts
from common.metrics.hits import Bools, Floats, hits, true_positives
from common.metrics.interval import UNDEFINED, Interval

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""False positives an image at which sensitivity is stated; their mean is the one figure of a curve."""
GRID = tuple(2.0 ** (step / 2) for step in range(-6, 7))
"""False positives an image of a drawn curve: 1/8 to 8 in half octaves; the :data:`RATES` are among them."""


@dataclass(frozen=True)
class ReadImage:
    """One image whose lesions are known, and what a detector said of it.

    ``detected`` ``(D, 4)`` and ``lesions`` ``(L, 4)`` are boxes x0, y0, x1, y1 in the same pixels, ``scores`` ``(D,)``.
    """

    patient: str
    breast: str
    detected: Floats
    scores: Floats
    lesions: Floats


@dataclass(frozen=True)
class Marks:
    """All detections of all images, highest score first, as a curve needs them.

    ``lesion`` and ``breast`` are 1 for the mark by which a lesion, or a breast with a lesion, is found first;
    ``false`` is 1 for false positives. ``last`` are the places in the list where a score ends: equal scores pass a
    threshold together. Of the patients: ``owner`` of each mark, number of ``images``, ``lesions`` and of ``breasts``
    with lesions of each.
    """

    scores: Floats
    lesion: Floats
    breast: Floats
    false: Floats
    last: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]
    images: Floats
    lesions: Floats
    breasts: Floats


@dataclass(frozen=True)
class Froc:
    """A detector on some images: sensitivity at every rate of :data:`GRID`, and the mean over :data:`RATES`.

    Undefined (NaN) where no image has a lesion.
    """

    images: int
    lesions: int
    breasts: int
    """With a lesion."""
    per_lesion: tuple[Interval, ...]
    per_breast: tuple[Interval, ...]
    mean_per_lesion: Interval
    mean_per_breast: Interval


def mark(images: Sequence[ReadImage], rule: str, overlap: float) -> Marks:
    """Compare detections with lesions under a hit rule (:func:`common.metrics.hits.hits`).

    Raises:
        ValueError: unknown rule, a score that is NaN or infinite, or not one score a detection.
    """
    patients = {name: number for number, name in enumerate(sorted({image.patient for image in images}))}
    totals = np.zeros((3, len(patients)))
    breasts = sorted({(image.patient, image.breast) for image in images if len(image.lesions)})
    for patient, _ in breasts:
        totals[2, patients[patient]] += 1
    scores, true, touching, owner, part = [np.empty(0)], [np.empty(0, bool)], [np.empty(0, bool)], [], []
    place = {breast: number for number, breast in enumerate(breasts)}
    for image in images:
        _require_scores(image)
        found = hits(image.detected, image.lesions, rule, overlap)
        scores.append(image.scores)
        true.append(true_positives(image.scores, found))
        touching.append(np.asarray(found.any(axis=1)))
        owner += [patients[image.patient]] * len(image.scores)
        part += [place.get((image.patient, image.breast), -1)] * len(image.scores)
        totals[:2, patients[image.patient]] += 1, len(image.lesions)
    flat, lesion = np.concatenate(scores), np.concatenate(true)
    order = np.argsort(-flat, kind="stable")
    ends = _ends(flat[order])
    first = _first_of_breast(np.concatenate(touching)[order], np.array(part, dtype=np.int64)[order])
    return Marks(
        flat[order], lesion[order].astype(float), first.astype(float), (~lesion[order]).astype(float),
        ends, np.array(owner, dtype=np.int64)[order], *totals,
    )  # fmt: skip


def without_patient(marks: Marks, patient: int) -> Marks:
    """The marks as if a patient had not been there; she keeps her number, and has no image.

    Args:
        marks: from :func:`mark`.
        patient: her number, as in ``owner``.
    """
    kept = marks.owner != patient
    others = np.arange(len(marks.images)) != patient
    return Marks(
        marks.scores[kept], marks.lesion[kept], marks.breast[kept], marks.false[kept], _ends(marks.scores[kept]),
        marks.owner[kept], marks.images * others, marks.lesions * others, marks.breasts * others,
    )  # fmt: skip


def _ends(scores: Floats) -> npt.NDArray[np.int64]:
    return np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, np.int64)


def _require_scores(image: ReadImage) -> None:
    if image.scores.shape != (len(image.detected),) or not np.isfinite(image.scores).all():
        raise ValueError("every detection needs one finite score")


def _first_of_breast(touching: Bools, breast: npt.NDArray[np.int64]) -> Bools:
    """The highest mark on a lesion of each breast; marks are in order."""
    first = np.zeros(len(touching), dtype=np.bool_)
    places = np.flatnonzero(touching)
    first[places[np.unique(breast[places], return_index=True)[1]]] = True
    return first


def sensitivities(marks: Marks, weights: Floats, rates: Sequence[float], *, of_breasts: bool = False) -> Floats:
    """Highest sensitivity ``(rates,)`` of any threshold that lets at most so many false positives an image through.

    A curve of steps: between thresholds nothing is interpolated, beyond the last it stays level. NaN without lesions.

    Args:
        marks: from :func:`mark`.
        weights: how often each patient counts, ``(patients,)``.
        rates: false positives an image.
        of_breasts: share of the breasts with a lesion that any mark has hit, instead of the share of lesions.
    """
    total = float(weights @ (marks.breasts if of_breasts else marks.lesions))
    images = float(weights @ marks.images)
    if not total or not images:
        return np.full(len(rates), np.nan)
    weight = weights[marks.owner]
    true = np.cumsum(weight * (marks.breast if of_breasts else marks.lesion))[marks.last]
    false = np.cumsum(weight * marks.false)[marks.last] / images
    reached = np.searchsorted(false, np.asarray(rates) + 1e-12, side="right")
    return np.asarray(np.append(0.0, true / total)[reached], dtype=np.float64)


def threshold_at(marks: Marks, rate: float) -> float:
    """Lowest score of a mark from which on at most ``rate`` false positives an image pass; infinite if none may."""
    false = np.cumsum(marks.false)[marks.last]
    allowed = np.flatnonzero(false <= rate * marks.images.sum() + 1e-9)
    return float(marks.scores[marks.last[allowed[-1]]]) if len(allowed) else np.inf


def froc(images: Sequence[ReadImage], rule: str, overlap: float, samples: int, confidence: float, seed: int) -> Froc:
    """Measure a detector, with percentile intervals from resampled patients.

    Patients are drawn within two strata, with and without lesions, so that every sample holds lesions if the data do.

    Args:
        images: all whose lesions are known, those without any too.
        rule, overlap: hit rule (:func:`common.metrics.hits.hits`).
        samples: resamples of patients; 0 gives no intervals.
        confidence: of the two-sided intervals.
        seed: of the resampling.

    Raises:
        ValueError: as :func:`mark`.

    Source: Chakraborty & Winter 1990, Radiology 174:873 (free-response scoring); Bandos et al. 2009, Biometrics
    65:247 (resampling of patients).
    """
    marks = mark(images, rule, overlap)
    ones = np.ones(len(marks.images))
    draws = resampled_counts(marks.lesions > 0, samples, seed) if marks.lesions.any() else np.empty((0, len(ones)))
    curves = []
    for of_breasts in (False, True):
        value = _with_mean(sensitivities(marks, ones, GRID, of_breasts=of_breasts))
        sampled = [_with_mean(sensitivities(marks, draw, GRID, of_breasts=of_breasts)) for draw in draws]
        curves.append(_intervals(value, np.array(sampled), confidence))
    return Froc(
        int(marks.images.sum()), int(marks.lesions.sum()), int(marks.breasts.sum()),
        curves[0][:-1], curves[1][:-1], curves[0][-1], curves[1][-1],
    )  # fmt: skip


def _with_mean(values: Floats) -> Floats:
    """Values on the grid, then their mean over the rates."""
    return np.append(values, np.mean([values[GRID.index(rate)] for rate in RATES]))


def _intervals(value: Floats, sampled: Floats, confidence: float) -> tuple[Interval, ...]:
    if np.isnan(value).any():
        return (UNDEFINED,) * len(value)
    if not len(sampled):
        return tuple(Interval(float(number), np.nan, np.nan) for number in value)
    return tuple(
        percentile_interval(float(number), column, confidence) for number, column in zip(value, sampled.T, strict=True)
    )
