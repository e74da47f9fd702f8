"""Detectors on the same patients: sensitivity at one false positive an image, against the FROC curve itself."""

from dataclasses import replace

import numpy as np
import pytest

from common.metrics.froc import GRID, ReadImage, froc
from common.metrics.paired import Answers, resampled
from common.metrics.paired_froc import RATE, Found, found_in

LESION, ELSEWHERE = [10.0, 10.0, 20.0, 20.0], [40.0, 40.0, 50.0, 50.0]


def images(random, quality, patients=30):
    """Two images a patient, every second patient with a lesion in each; better detectors score lesions higher."""
    found = []
    for patient in range(patients):
        for number in range(2):
            ill = patient % 2 == 0
            boxes = [LESION] * ill + [ELSEWHERE, [60.0, 0.0, 70.0, 10.0], [0.0, 60.0, 10.0, 70.0]]
            scores = np.round(random.normal(size=len(boxes)) + quality * np.array([ill] + [0] * (len(boxes) - 1)), 1)
            lesions = np.array([LESION] if ill else []).reshape(-1, 4)
            found.append(ReadImage(f"p{patient:02}", f"p{patient:02}-{number}", np.array(boxes), scores, lesions))
    return found


@pytest.fixture(scope="module")
def read():
    return images(np.random.default_rng(0), 1.0)


def at_one(some, samples=0, seed=0):
    return froc(some, "iou", 0.2, samples, 0.95, seed).per_lesion[GRID.index(RATE)]


def test_value_and_interval_are_those_of_the_froc_curve(read):
    found = found_in(read, "iou", 0.2)
    found.require_sound()
    assert 0 < found.value() < 1 and found.value() == at_one(read).value
    samples = found.resampled(found.draws(200, 5))
    expected = at_one(read, 200, 5)
    np.testing.assert_allclose(np.quantile(samples, (0.025, 0.975)), (expected.low, expected.high))


def test_a_patient_who_counts_twice_counts_like_two(read):
    found, random = found_in(read, "iou", 0.2), np.random.default_rng(1)
    weights = random.integers(0, 3, (5, len(found.patients))).astype(float)
    for row, value in zip(weights, found.resampled(weights), strict=True):
        times = dict(zip(found.patients.tolist(), row.astype(int).tolist(), strict=True))
        copies = [
            replace(image, patient=f"{image.patient}/{copy}", breast=f"{image.breast}/{copy}")
            for image in read
            for copy in range(times[image.patient])
        ]
        assert value == pytest.approx(at_one(copies).value)


def test_some_of_the_patients_are_as_if_the_others_were_never_read(read):
    some = np.array(["p03", "p04", "p10", "p27"])
    part, alone = (
        found_in(read, "iou", 0.2).of(some),
        found_in([one for one in read if one.patient in some], "iou", 0.2),
    )
    for name in ("patients", "images", "lesions", "owner", "scores", "hit"):
        np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))


def test_a_detector_that_marks_nothing_finds_nothing_and_without_lesions_nothing_is_defined(read):
    blind = [replace(image, detected=np.empty((0, 4)), scores=np.empty(0)) for image in read]
    assert found_in(blind, "iou", 0.2).value() == 0.0
    healthy = [image for image in read if not len(image.lesions)]
    assert np.isnan(found_in(healthy, "iou", 0.2).value())


def test_paired_resamples_see_a_small_difference_that_separate_intervals_hide(read):
    better = [replace(image, scores=image.scores + 0.5 * np.array([len(image.lesions)] + [0] * (len(image.scores) - 1)))
              for image in read]  # fmt: skip
    ways = {name: [{"MCS": found_in(one, "iou", 0.2)}] * 2 for name, one in (("a", read), ("b", better))}
    found = resampled(ways, ["MCS"], 300, 0)
    gain = found["b"].samples[:, 0] - found["a"].samples[:, 0]
    assert found["b"].value[0] > found["a"].value[0] and gain.std() < found["a"].samples[:, 0].std()


def test_models_must_be_tested_on_the_same_images(read):
    one, other = found_in(read, "iou", 0.2), found_in(read[2:], "iou", 0.2)
    with pytest.raises(ValueError, match="same breasts of MCS"):
        resampled({"a": [{"MCS": one}], "b": [{"MCS": other}]}, ["MCS"], 5, 0)
    classifier = Answers(np.array(["p00", "p01"]), np.array([0, 1]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="same breasts of MCS"):
        resampled({"a": [{"MCS": one}], "b": [{"MCS": classifier}]}, ["MCS"], 5, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"scores": np.array([0.0, 1.0])}, "highest first"), ({"owner": np.array([0, 2])}, "belongs to no patient")],
)
def test_marks_that_cannot_be_are_refused(change, message):
    sound = Found(
        np.array(["a", "b"]), np.ones(2), np.ones(2), np.array([0, 1]), np.array([1.0, 0.0]), np.array([1.0, 0.0])
    )
    sound.require_sound()
    with pytest.raises(ValueError, match=message):
        replace(sound, **change).require_sound()
