"""Confidence intervals by resampling patients, who are independent where their breasts are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from common.metrics.inputs import require_scores
from common.metrics.interval import UNDEFINED, Interval

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Statistic = Callable[[npt.NDArray[np.int64], Floats], float]


def bootstrap_interval(
    statistic: Statistic,
    targets: npt.NDArray[np.int64],
    scores: Floats,
    patients: Sequence[str],
    samples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Percentile interval of a statistic of breasts, resampling patients with all their breasts.

    Patients are drawn within three strata (all breasts healthy, all diseased, both kinds), so that
    every sample holds both classes if the data do. All NaN without data.

    Args:
        statistic: of targets and scores of a sample.
        targets: ``(N,)`` of the breasts, 0 or 1.
        scores: ``(N,)``.
        patients: the patient of each breast, in any order.
        samples: how many resamples.
        confidence: of the two-sided interval, 0 to 1.
        seed: of the resampling.

    Raises:
        ValueError: not one patient a breast, or what :func:`require_scores` refuses.

    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13.
    """
    require_scores(targets, scores)
    _require_a_patient_each(targets, patients)
    if not len(targets):
        return UNDEFINED
    owner, order, starts, counts = _breasts_of_patients(patients)
    drawn = _draw_patients(_strata(targets, owner, counts), samples, np.random.default_rng(seed))
    values = np.empty(samples)
    for number, chosen in enumerate(drawn):
        sizes = counts[chosen]
        # Breasts of the drawn patients, one patient after the other: start of each plus 0, 1, ...
        first = starts[chosen] - (np.cumsum(sizes) - sizes)
        breasts = order[np.repeat(first, sizes) + np.arange(sizes.sum())]
        values[number] = statistic(targets[breasts], scores[breasts])
    return percentile_interval(statistic(targets, scores), values, confidence)


def bootstrap_mean(values: Floats, patients: Sequence[str], samples: int, confidence: float, seed: int) -> Interval:
    """Mean with a percentile interval from resampled patients; all NaN without values.

    Args:
        values: ``(N,)``, for instance one a view.
        patients: the patient of each value, in any order.
        samples: how many resamples.
        confidence: of the two-sided interval, 0 to 1.
        seed: of the resampling.

    Raises:
        ValueError: not one patient a value.
    """
    _require_a_patient_each(values, patients)
    if not len(values):
        return UNDEFINED
    owner, _, _, counts = _breasts_of_patients(patients)
    sums = np.bincount(owner, weights=values, minlength=len(counts))
    drawn = _draw_patients(np.zeros(len(counts), dtype=np.int64), samples, np.random.default_rng(seed))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return percentile_interval(float(np.mean(values)), means, confidence)


def resampled_counts(stratum: npt.NDArray[np.integer | np.bool_], samples: int, seed: int) -> Floats:
    """How often each patient is drawn in each sample, ``(samples, patients)``; every stratum keeps its size.

    Args:
        stratum: of each patient, ``(patients,)``.
        samples: how many resamples.
        seed: of the resampling.
    """
    drawn = _draw_patients(stratum.astype(np.int64), samples, np.random.default_rng(seed))
    counts = np.zeros((samples, len(stratum)))
    np.add.at(counts, (np.arange(samples)[:, None], drawn), 1.0)
    return counts


def breast_counts(targets: npt.NDArray[np.int64], patients: Sequence[str], samples: int, seed: int) -> Floats:
    """How often each breast is in each sample of :func:`bootstrap_interval`'s kind, ``(samples, N)``.

    Args:
        targets: ``(N,)`` of the breasts, 0 or 1.
        patients: the patient of each breast, in any order.
        samples: how many resamples.
        seed: of the resampling.

    Raises:
        ValueError: not one patient a breast.
    """
    _require_a_patient_each(targets, patients)
    owner, _, _, counts = _breasts_of_patients(patients)
    return resampled_counts(_strata(targets, owner, counts), samples, seed)[:, owner]


def _strata(targets: npt.NDArray[np.int64], owner: Indices, counts: Indices) -> npt.NDArray[np.int64]:
    """Of each patient: all breasts healthy (0), all diseased (1), or both kinds (2)."""
    diseased = np.bincount(owner, weights=targets, minlength=len(counts))
    return np.where(diseased == 0, 0, np.where(diseased == counts, 1, 2))


def _require_a_patient_each(values: npt.NDArray[np.int64] | Floats, patients: Sequence[str]) -> None:
    if len(values) != len(patients):
        raise ValueError(f"{len(values)} values but {len(patients)} patients")


def _breasts_of_patients(patients: Sequence[str]) -> tuple[Indices, Indices, Indices, Indices]:
    """Patient number of each breast; breasts sorted by patient; where a patient starts there, and how many."""
    _, owner, counts = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    return owner, np.argsort(owner, kind="stable"), np.cumsum(counts) - counts, counts


def _draw_patients(stratum: npt.NDArray[np.int64], samples: int, random: np.random.Generator) -> Indices:
    """As many patients of every stratum as it has, with replacement: ``(samples, patients)``."""
    members = [np.flatnonzero(stratum == number) for number in np.unique(stratum)]
    return np.concatenate([random.choice(some, (samples, len(some))) for some in members], axis=1)


def percentile_interval(value: float, values: Floats, confidence: float) -> Interval:
    """A value between the percentiles of its resampled values ``(samples,)``."""
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(values, (tail, 1.0 - tail))
    return Interval(float(value), float(low), float(high))
