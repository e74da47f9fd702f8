"""FROC against brute force over all thresholds, MONAI, and cases worked out by hand."""

import math

import numpy as np
import pytest
from monai.metrics.froc import compute_froc_curve_data
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import tensor
from torchvision.ops import box_iou

from common.metrics.bootstrap import bootstrap_mean
from common.metrics.froc import GRID, RATES, ReadImage, froc, mark, sensitivities, threshold_at, without_patient
from common.metrics.hits import corners, hits, intersection_over_union, true_positives

NOBODY = np.empty((0, 4))


def image(patient, detected, scores, lesions, breast="L"):
    return ReadImage(
        patient, breast, np.reshape(detected, (-1, 4)).astype(float), np.array(scores, float),
        np.reshape(lesions, (-1, 4)).astype(float),
    )  # fmt: skip


def random_boxes(random, number):
    start = random.integers(0, 20, (number, 2))
    return np.concatenate([start, start + random.integers(2, 12, (number, 2))], axis=1).astype(float)


def random_images(seed):
    """Few pixels and few scores: overlaps, ties, images without detections or lesions are all frequent."""
    random, images = np.random.default_rng(seed), []
    for patient in range(6):
        for breast in "LR":
            for _ in range(2):
                detections = random.integers(0, 7)
                images.append(
                    ReadImage(
                        f"p{patient}", breast, random_boxes(random, detections),
                        random.integers(0, 4, detections) / 4, random_boxes(random, random.integers(0, 4)),
                    )
                )  # fmt: skip
    return images


def overlap_of(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    return common / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - common)


def holds(lesion, one):
    x, y = (one[0] + one[2]) / 2, (one[1] + one[3]) / 2
    return lesion[0] <= x <= lesion[2] and lesion[1] <= y <= lesion[3]


def by_brute_force(images, rule, rates, of_breasts):
    """Every threshold on its own: pair detections with lesions anew, count, take the best that a rate allows."""
    thresholds = sorted({score for item in images for score in item.scores} | {math.inf})
    lesions = sum(len(item.lesions) for item in images)
    with_lesion = {(item.patient, item.breast) for item in images if len(item.lesions)}
    points = []
    for threshold in thresholds:
        found, false, breasts = 0, 0, set()
        for item in images:
            kept = [box for box, score in zip(item.detected, item.scores, strict=True) if score >= threshold]
            table = np.array(
                [
                    [
                        holds(lesion, box) if rule == "centre" else overlap_of(box, lesion) >= 0.2
                        for lesion in item.lesions
                    ]
                    for box in kept
                ]
            ).reshape(len(kept), len(item.lesions))
            paired = int(np.count_nonzero(maximum_bipartite_matching(csr_array(table), perm_type="column") >= 0))
            found, false = found + paired, false + len(kept) - paired
            if table.any():
                breasts.add((item.patient, item.breast))
        points.append((false / len(images), len(breasts) / len(with_lesion) if of_breasts else found / lesions))
    return [max(sensitivity for rate, sensitivity in points if rate <= allowed) for allowed in rates]


@pytest.mark.parametrize("rule", ["iou", "centre"])
@pytest.mark.parametrize("of_breasts", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_curve_is_that_of_brute_force(seed, of_breasts, rule):
    images = random_images(seed)
    marks = mark(images, rule, 0.2)
    found = sensitivities(marks, np.ones(len(marks.images)), GRID, of_breasts=of_breasts)
    assert found == pytest.approx(by_brute_force(images, rule, GRID, of_breasts))


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_drawn_twice_counts_twice(seed):
    """Weights against images really repeated under another name."""
    images = random_images(seed)
    weights = np.random.default_rng(seed).integers(0, 4, 6).astype(float)
    repeated = [
        ReadImage(f"{item.patient}-{copy}", item.breast, item.detected, item.scores, item.lesions)
        for item in images
        for copy in range(int(weights[int(item.patient[1:])]))
    ]
    for of_breasts in (False, True):
        found = sensitivities(mark(images, "iou", 0.2), weights, GRID, of_breasts=of_breasts)
        assert found == pytest.approx(by_brute_force(repeated, "iou", GRID, of_breasts))


def test_curve_is_that_of_monai():
    """MONAI leaves it to the caller which detections are true, and interpolates; its points are ours."""
    images = random_images(3)
    marks = mark(images, "iou", 0.2)
    rates, sensitivity = compute_froc_curve_data(
        marks.scores[marks.false == 1], marks.scores[marks.lesion == 1], int(marks.lesions.sum()), len(images)
    )
    assert len(rates) > 3
    ones = np.ones(len(marks.images))
    assert sensitivities(marks, ones, list(rates)) == pytest.approx(
        [max(s for r, s in zip(rates, sensitivity, strict=True) if r <= rate) for rate in rates]
    )


def test_by_hand():
    """Two images; at 0.9 one true, at 0.8 one false, at 0.7 a second mark on the found lesion, at 0.6 another true."""
    lesion, other = (10, 10, 20, 20), (40, 40, 50, 50)
    images = [
        image("a", [lesion, (60, 60, 70, 70), (11, 11, 20, 20)], [0.9, 0.8, 0.7], [lesion]),
        image("b", [other], [0.6], [other, (80, 80, 90, 90)]),
    ]
    result = froc(images, "iou", 0.2, 50, 0.95, 0)
    assert (result.images, result.lesions, result.breasts) == (2, 3, 2)
    values = dict(zip(GRID, (point.value for point in result.per_lesion), strict=True))
    assert [values[rate] for rate in RATES] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert result.mean_per_lesion.value == pytest.approx(8 / 15)
    breasts = dict(zip(GRID, (point.value for point in result.per_breast), strict=True))
    assert [breasts[rate] for rate in RATES] == pytest.approx([0.5, 0.5, 1, 1, 1])


def test_equal_scores_pass_together():
    """A true and a false mark of one score: below one false positive an image neither passes."""
    lesion = (0, 0, 10, 10)
    for order in ([lesion, (50, 50, 60, 60)], [(50, 50, 60, 60), lesion]):
        marks = mark([image("a", order, [0.5, 0.5], [lesion])], "iou", 0.2)
        assert sensitivities(marks, np.ones(1), (0.5, 1.0)).tolist() == [0.0, 1.0]


def test_both_views_of_a_breast_are_one_breast():
    lesion = (0, 0, 10, 10)
    images = [image("a", [lesion], [0.9], [lesion]), image("a", NOBODY, [], [lesion])]
    result = froc(images, "iou", 0.2, 0, 0.95, 0)
    assert (result.lesions, result.breasts) == (2, 1)
    assert (result.mean_per_lesion.value, result.mean_per_breast.value) == (0.5, 1.0)
    assert math.isnan(result.mean_per_lesion.low), "no samples, no interval"


def test_without_lesions_nothing_is_defined():
    result = froc([image("a", [(0, 0, 5, 5)], [0.5], NOBODY)], "iou", 0.2, 20, 0.95, 0)
    assert (result.images, result.lesions) == (1, 0)
    assert all(math.isnan(point.value) for point in (*result.per_lesion, *result.per_breast, result.mean_per_breast))
    assert math.isnan(froc([], "iou", 0.2, 20, 0.95, 0).mean_per_lesion.value)


def test_without_detections_nothing_is_found():
    result = froc([image("a", NOBODY, [], [(0, 0, 5, 5)])], "centre", 0.2, 20, 0.95, 0)
    assert [point.value for point in result.per_lesion] == [0.0] * len(GRID)
    assert (result.mean_per_lesion.low, result.mean_per_lesion.high) == (0.0, 0.0)


@pytest.mark.parametrize("scores", [[math.nan], [math.inf], [0.5, 0.6]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match="one finite score"):
        mark([image("a", [(0, 0, 5, 5)], scores, NOBODY)], "iou", 0.2)


def test_interval_is_that_of_patients():
    """One lesion a patient and no false mark: sensitivity is a mean over patients, whose interval is known."""
    lesion, found = (0, 0, 10, 10), [True] * 12 + [False] * 8
    images = [
        image(f"p{number}", [lesion] if hit else NOBODY, [0.5] if hit else [], [lesion])
        for number, hit in enumerate(found)
    ]
    result = froc(images, "iou", 0.2, 4000, 0.9, 1)
    expected = bootstrap_mean(np.array(found, float), [item.patient for item in images], 4000, 0.9, 2)
    assert result.mean_per_lesion.value == pytest.approx(0.6)
    assert (result.mean_per_lesion.low, result.mean_per_lesion.high) == pytest.approx((expected.low, expected.high))


def test_every_sample_holds_lesions():
    """One patient with a lesion among fifty: drawn freely, a third of the samples would hold none."""
    lesion = (0, 0, 10, 10)
    images = [image("sick", [lesion], [0.5], [lesion])] + [image(f"p{n}", NOBODY, [], NOBODY) for n in range(50)]
    assert math.isfinite(froc(images, "iou", 0.2, 200, 0.95, 0).mean_per_lesion.low)


@pytest.mark.parametrize("seed", range(10))
def test_as_many_as_can_be_paired_are_true(seed):
    random = np.random.default_rng(seed)
    found, scores = random.random((12, 8)) < 0.2, random.random(12)
    true = true_positives(scores, found)
    for threshold in scores:
        kept = scores >= threshold
        rows, columns = linear_sum_assignment(found[kept], maximize=True)
        assert np.count_nonzero(true[kept]) == found[kept][rows, columns].sum()


def test_very_many_lesions():
    """A chain: each detection but the last reaches its own lesion and the next; the last moves all others on."""
    number = 1500
    found = np.eye(number, dtype=bool) | np.eye(number, k=1, dtype=bool)
    found[-1] = False
    found[-1, 0] = True
    assert true_positives(-np.arange(float(number)), found).all()


def test_overlap_is_that_of_torchvision():
    random = np.random.default_rng(0)
    first, second = random_boxes(random, 30), random_boxes(random, 20)
    assert intersection_over_union(first, second) == pytest.approx(box_iou(tensor(first), tensor(second)).numpy())
    assert intersection_over_union(np.array([[3.0, 3, 3, 3]]), np.array([[3.0, 3, 3, 3]])) == 0.0


def test_hit_rules_at_their_limits():
    lesion = np.array([[0.0, 0.0, 10.0, 10.0]])
    at_limit = np.array([[0.0, 0.0, 10.0, 2.0], [0.0, 0.0, 10.0, 1.9]])
    assert hits(at_limit, lesion, "iou", 0.2).tolist() == [[True], [False]]
    centres = np.array([[8.0, 8.0, 12.0, 12.0], [9.0, 9.0, 12.0, 12.0]])
    assert hits(centres, lesion, "centre", 0.2).tolist() == [[True], [False]]
    with pytest.raises(ValueError, match="unknown hit rule 'touch'"):
        hits(lesion, lesion, "touch", 0.2)


def test_boxes_as_corners():
    class Rectangle:
        x0, y0, x1, y1 = 1.0, 2.0, 3.0, 4.0

    assert corners([Rectangle()]).tolist() == [[1, 2, 3, 4]]
    assert corners([]).shape == (0, 4)


@pytest.mark.parametrize("seed", range(5))
def test_marks_without_a_patient_are_those_of_the_others(seed):
    images = random_images(seed)
    left_out = without_patient(mark(images, "iou", 0.2), 2)
    others = mark([one for one in images if one.patient != "p2"], "iou", 0.2)
    for name in ("scores", "lesion", "breast", "false", "last"):
        assert np.array_equal(getattr(left_out, name), getattr(others, name)), name
    ones = np.ones(6)
    for rate in RATES:
        assert threshold_at(left_out, rate) == threshold_at(others, rate)
    assert np.array_equal(sensitivities(left_out, ones, GRID), sensitivities(others, np.ones(5), GRID), equal_nan=True)
