"""Detectors compared on the same patients: sensitivity at one false positive an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import resampled_counts
from common.metrics.froc import Marks, ReadImage, mark, sensitivities
from common.metrics.paired import Tested

Floats = npt.NDArray[np.float64]
RATE = 1.0
"""False positives an image at which detectors are compared."""


@dataclass(frozen=True)
class Found:
    """What a detector found at one site: ``(patients,)`` and, of its marks, highest score first, ``(D,)``.

    ``images`` and ``lesions`` count the images whose lesions are known and their lesions, of each patient;
    ``owner`` is a mark's place among ``patients``, ``hit`` 1 where the mark is the one that finds a lesion, else 0. Its
    figure is the sensitivity per lesion at :data:`RATE` (:func:`common.metrics.froc.sensitivities`).
    """

    patients: npt.NDArray[np.str_]
    images: Floats
    lesions: Floats
    owner: npt.NDArray[np.int64]
    scores: Floats
    hit: Floats

    def require_sound(self) -> None:
        """Raises ValueError where marks are not in order or belong to nobody."""
        if np.isnan(self.scores).any() or (np.diff(self.scores) > 0).any():
            raise ValueError("marks must have scores, the highest first")
        if len(self.owner) and not 0 <= self.owner.min() <= self.owner.max() < len(self.patients):
            raise ValueError("a mark belongs to no patient")

    def same_patients(self, other: Tested) -> bool:
        """Whether the other is about the same images of the same patients."""
        return (
            isinstance(other, Found)
            and np.array_equal(self.patients, other.patients)
            and np.array_equal(self.images, other.images)
            and np.array_equal(self.lesions, other.lesions)
        )

    def draws(self, samples: int, seed: int) -> Floats:
        """How often each patient counts; those with lesions and those without are drawn apart, as of a FROC curve."""
        return resampled_counts(self.lesions > 0, samples, seed)

    def value(self) -> float:
        """Sensitivity."""
        return float(self.resampled(np.ones((1, len(self.patients))))[0])

    def positives(self) -> float:
        """Lesions."""
        return float(self.lesions.sum())

    def resampled(self, draws: Floats) -> Floats:
        """Sensitivity of each resample."""
        marks = self._marks()
        return np.array([sensitivities(marks, draw, (RATE,))[0] for draw in draws])

    def of(self, patients: npt.NDArray[np.str_]) -> Found:
        """What was found in some of the patients."""
        kept = np.isin(self.patients, patients)
        marks = kept[self.owner]
        place = np.cumsum(kept) - 1
        return Found(
            self.patients[kept], self.images[kept], self.lesions[kept], place[self.owner[marks]],
            self.scores[marks], self.hit[marks],
        )  # fmt: skip

    def _marks(self) -> Marks:
        ends = np.append(np.diff(self.scores) != 0, True) if len(self.scores) else np.empty(0, dtype=np.bool_)
        nobody = np.zeros(len(self.patients))
        return Marks(
            self.scores, self.hit, np.zeros(len(self.hit)), 1.0 - self.hit, np.flatnonzero(ends), self.owner,
            self.images, self.lesions, nobody,
        )  # fmt: skip


def found_in(images: Sequence[ReadImage], rule: str, overlap: float) -> Found:
    """Compare what a detector says with the lesions.

    Args:
        images: all whose lesions are known.
        rule, overlap: hit rule (:func:`common.metrics.hits.hits`).

    Raises:
        ValueError: as :func:`common.metrics.froc.mark`.
    """
    marks = mark(images, rule, overlap)
    patients = np.array(sorted({image.patient for image in images}), dtype=np.str_)
    return Found(patients, marks.images, marks.lesions, marks.owner, marks.scores, marks.lesion)
