"""Assigns patients to training, validation and test."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from common.data.manifest import Manifest

SPLITS = ("train", "validation", "test")


def _position(patient_id: str) -> float:
    """Where a patient falls in [0, 1), from nothing but the identifier."""
    return int.from_bytes(hashlib.sha256(patient_id.encode()).digest()[:8], "big") / 2.0**64


def assign_splits(manifest: Manifest, validation_fraction: float, test_fraction: float, fold: int = 1) -> Manifest:
    """Fill empty splits; all breasts of a patient stay together and explicit splits are kept.

    Patients with and without a malignancy are each put in the order of a hash of their identifier
    and cut at the fractions, at least one patient a part where there are enough. So every split has
    both classes also at a small site; the price is that a site that adds patients may see one at a
    cut change sides (a plain threshold on the hash would not, but leaves small sites' splits with
    one class). The result depends on the set of patients only, not on the order of rows.

    Args:
        manifest: with or without splits.
        validation_fraction: share of the patients to choose a model by.
        test_fraction: share of the patients to test on.
        fold: from 1; the order of patients is turned by so many test shares less one. While ``fold`` times
            ``test_fraction`` is at most 1 no patient is tested on in two folds, and all folds together hold all.
    """
    malignant = {breast.patient_id for breast in manifest.breasts if breast.target}
    undecided = {breast.patient_id for breast in manifest.breasts if not breast.split}
    assigned: dict[str, str] = {}
    for group in (undecided & malignant, undecided - malignant):
        ordered = sorted(group, key=lambda patient: (_position(patient), patient))
        test = _share(len(ordered), test_fraction)
        validation = _share(len(ordered), validation_fraction)
        while test + validation >= len(ordered) > 0 and test + validation > 0:  # training comes first
            validation, test = (validation - 1, test) if validation else (0, test - 1)
        ends = [0, test, *(max(test, round(number * test_fraction * len(ordered))) for number in range(2, fold + 1))]
        first, test = ends[fold - 1], ends[fold] - ends[fold - 1]
        for rank, patient in enumerate(ordered[first:] + ordered[:first]):
            assigned[patient] = "test" if rank < test else "validation" if rank < test + validation else "train"
    breasts = tuple(
        breast if breast.split else replace(breast, split=assigned[breast.patient_id]) for breast in manifest.breasts
    )
    return replace(manifest, breasts=breasts)


def _share(patients: int, fraction: float) -> int:
    """Number of patients in a part; at least one where the fraction is not zero."""
    return max(1, round(patients * fraction)) if fraction > 0 and patients else 0
