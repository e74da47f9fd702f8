"""Patients are assigned to splits by nothing but their identifiers."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from common.data.manifest import Breast, Manifest
from common.data.split import assign_splits


def manifest(malignant, normal, splits=None):
    """Patients m0.. with one malignant and one normal breast, n0.. with two normal ones."""
    breasts = []
    for name in [f"m{number}" for number in range(malignant)] + [f"n{number}" for number in range(normal)]:
        for laterality in "LR":
            label = "malignant" if name[0] == "m" and laterality == "L" else "normal"
            breasts.append(Breast(name, name, laterality, label, (splits or {}).get(name, ""), ()))
    return Manifest("TUH", Path(), tuple(breasts))


def by_patient(result):
    return {breast.patient_id: breast.split for breast in result.breasts}


def test_breasts_of_a_patient_stay_together():
    result = assign_splits(manifest(40, 60), 0.15, 0.25)
    assert len({(breast.patient_id, breast.split) for breast in result.breasts}) == 100


def test_fractions_hold_in_each_class():
    splits = by_patient(assign_splits(manifest(40, 60), 0.15, 0.25))
    for kind, total in (("m", 40), ("n", 60)):
        shares = [
            sum(split == part for name, split in splits.items() if name[0] == kind) for part in ("validation", "test")
        ]
        assert shares == [0.15 * total, 0.25 * total]


def test_order_of_rows_makes_no_difference():
    whole = manifest(10, 20)
    shuffled = Manifest(
        "TUH", Path(), tuple(whole.breasts[index] for index in np.random.default_rng(0).permutation(60))
    )
    assert by_patient(assign_splits(whole, 0.15, 0.25)) == by_patient(assign_splits(shuffled, 0.15, 0.25))


def test_explicit_splits_are_kept():
    given = {f"n{number}": "test" for number in range(10)} | {"m0": "train"}
    splits = by_patient(assign_splits(manifest(5, 20, given), 0.2, 0.2))
    assert all(splits[name] == split for name, split in given.items())
    assert all(splits.values())


@pytest.mark.parametrize("each", [3, 4, 5])
def test_three_patients_of_each_class_are_enough_for_both_classes_everywhere(each):
    splits = by_patient(assign_splits(manifest(each, each), 0.15, 0.25))
    for kind in "mn":
        assert {split for name, split in splits.items() if name[0] == kind} == {"train", "validation", "test"}


def test_a_site_of_twenty_has_malignant_patients_in_every_split():
    splits = by_patient(assign_splits(manifest(4, 16), 0.15, 0.25))
    malignant = [split for name, split in splits.items() if name[0] == "m"]
    assert sorted(malignant) == ["test", "train", "train", "validation"]
    assert sum(split == "train" for split in splits.values()) == 12  # 2 of 4 and 10 of 16


def test_training_comes_first_where_patients_are_few():
    assert set(by_patient(assign_splits(manifest(1, 1), 0.15, 0.25)).values()) == {"train"}
    assert sorted(by_patient(assign_splits(manifest(2, 2), 0.15, 0.25)).values()) == ["test", "test", "train", "train"]


def test_zero_fractions_leave_a_split_empty():
    assert set(by_patient(assign_splits(manifest(5, 5), 0.0, 0.2)).values()) == {"train", "test"}


def test_one_more_patient_moves_few_others():
    before = by_patient(assign_splits(manifest(40, 60), 0.15, 0.25))
    after = by_patient(assign_splits(manifest(40, 61), 0.15, 0.25))
    assert sum(before[name] != after[name] for name in before) <= 2


def test_a_hash_of_the_identifier_decides():
    """Worked out anew from SHA-256, so that a release cannot move patients between training and test unseen."""
    splits = by_patient(assign_splits(manifest(0, 40), 0.15, 0.25))
    ordered = sorted(splits, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert [splits[name] for name in ordered] == ["test"] * 10 + ["validation"] * 6 + ["train"] * 24


@pytest.mark.parametrize(
    ("malignant", "normal", "folds"), [(40, 60, 5), (7, 23, 4), (3, 11, 10), (1, 2, 3), (92, 230, 7)]
)
def test_folds_test_every_patient_once(malignant, normal, folds):
    whole = manifest(malignant, normal)
    tested = []
    for fold in range(1, folds + 1):
        splits = by_patient(assign_splits(whole, 0.1, 1 / folds, fold))
        tested += [name for name, split in splits.items() if split == "test"]
    assert sorted(tested) == sorted(by_patient(whole))


def test_folds_have_both_classes_in_their_shares():
    for fold in range(1, 6):
        splits = by_patient(assign_splits(manifest(40, 60), 0.1, 0.2, fold))
        assert [sum(s == "test" and n[0] == kind for n, s in splits.items()) for kind in "mn"] == [8, 12]
        assert [sum(s == "validation" and n[0] == kind for n, s in splits.items()) for kind in "mn"] == [4, 6]


def test_the_first_fold_is_what_was_without_folds():
    assert assign_splits(manifest(9, 14), 0.15, 0.25) == assign_splits(manifest(9, 14), 0.15, 0.25, 1)
