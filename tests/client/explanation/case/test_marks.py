"""Working points, reliability of marks and the worst exams, on marks that can be counted by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from client.detection.reading import SiteReading, ViewReading
from client.explanation.case.cad_marks import points_of
from client.explanation.case.choice import worst_marked
from client.explanation.case.marks import site_marks
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.data.lesions import Lesions
from common.data.manifest import Breast, View
from common.errors import CaseError
from common.imaging.box import Box

CONFIG = EvaluationConfig()
LESION = (10.0, 10.0, 20.0, 20.0)
ON, OFF = LESION, (40.0, 40.0, 50.0, 50.0)


def site(*exams):
    """Each exam: patient, split, lesions (number, or None for unknown), and marks on its one view: (box, score)."""
    breasts, views = [], []
    for number, (patient, split, lesions, marks) in enumerate(exams):
        view = View(Path(f"{number}.png"), "CC", number + 2, None)
        breasts.append(Breast(patient, f"E{number}", "L", "normal", split, (view,)))
        known = None if lesions is None else Lesions((Box(*LESION),) * lesions, 0)
        boxes = np.array([box for box, _ in marks], dtype=float).reshape(-1, 4)
        views.append(ViewReading(number, 0, boxes, np.array([score for _, score in marks], dtype=float), known))
    data = SiteData("TUH", tuple(breasts), ((),) * len(breasts))
    return data, SiteReading(views, np.zeros(len(breasts)), None)


FOUR = (
    ("P0", "test", 1, [(ON, 0.9), (OFF, 0.7)]),
    ("P1", "test", 0, [(OFF, 0.6)]),
    ("P2", "test", 1, [(OFF, 0.5), (ON, 0.4)]),
    ("P3", "test", 0, [(OFF, 0.3)]),
    ("P4", "train", 0, [(OFF, 0.99)]),
)


@pytest.mark.parametrize(
    ("rate", "threshold", "false", "found"),
    # False marks on four images: 0.7, 0.6, 0.5, 0.3. Half a one an image are two.
    [(0.0, 0.9, 0, 1), (0.25, 0.7, 1, 1), (0.5, 0.6, 2, 1), (0.75, 0.4, 3, 2), (1.0, 0.3, 4, 2), (9.0, 0.3, 4, 2)],
)
def test_the_working_point_lets_no_more_false_marks_through_than_asked_for(rate, threshold, false, found):
    point = site_marks(*site(*FOUR), CONFIG).working_point(rate)
    assert (point.threshold, point.false, point.found) == (threshold, false, found)
    assert (point.images, point.lesions, point.known) == (4, 2, True)


def test_her_own_marks_do_not_choose_her_working_point():
    marks = site_marks(*site(*FOUR), CONFIG)
    point = marks.without("P0").working_point(0.4)  # of three images: one false mark, 0.6
    assert (point.threshold, point.false, point.images, point.lesions, point.found) == (0.6, 1, 3, 1, 0)
    assert marks.without("NOBODY").working_point(0.5) == marks.working_point(0.5)


def test_without_known_lesions_every_mark_counts():
    data, reading = site(*[(patient, split, None, marks) for patient, split, _, marks in FOUR])
    marks = site_marks(data, reading, CONFIG)
    point = marks.working_point(0.5)
    assert (point.threshold, point.false, point.lesions, point.known) == (0.7, 2, 0, False)
    assert marks.alike(0.9) is None


def test_without_other_test_images_there_is_no_working_point():
    for only in (FOUR[4:], FOUR[:1]):
        point = site_marks(*site(*only), CONFIG).without("P0").working_point(4.0)
        assert math.isinf(point.threshold) and point.images == 0


def test_where_already_the_surest_mark_is_false_none_is_shown():
    point = site_marks(*site(("P0", "test", 0, [(OFF, 0.9)]), ("P1", "test", 1, [(ON, 0.8)])), CONFIG).working_point(
        0.25
    )
    assert math.isinf(point.threshold) and (point.images, point.found, point.false) == (2, 0, 0)


def test_reliability_is_the_share_of_the_nearest_marks_that_found_a_lesion():
    marks = site_marks(*site(*FOUR), CONFIG)
    alike = marks.alike(0.9)
    assert (alike.marks, alike.hits) == (6, 2)  # fewer than twenty: all of them
    z, n, share = norm.ppf(0.975), 6, 2 / 6
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert alike.low == pytest.approx((middle - half) / (1 + z * z / n))
    assert alike.high == pytest.approx((middle + half) / (1 + z * z / n))
    many = [(f"P{n}", "test", 1, [(ON, 0.8 + n / 1000)]) for n in range(15)]
    many += [(f"Q{n}", "test", 0, [(OFF, 0.2 + n / 1000)]) for n in range(15)]
    high = site_marks(*site(*many), CONFIG).alike(0.95)
    assert (high.marks, high.hits) == (20, 15)


def test_a_second_mark_on_a_lesion_found_none():
    twice = site(("P0", "test", 1, [(ON, 0.9), (ON, 0.8)]))
    assert site_marks(*twice, CONFIG).alike(0.9).hits == 1


def test_the_worst_are_missed_lesions_and_false_marks_by_turns():
    data, reading = site(
        ("P0", "test", 1, [(ON, 0.9), (OFF, 0.2)]),  # found at 0.9
        ("P1", "test", 0, [(OFF, 0.6)]),  # false at 0.6
        ("P2", "test", 1, [(ON, 0.1)]),  # found at 0.1 only
        ("P3", "test", 1, [(OFF, 0.8)]),  # never found, and false at 0.8
        ("P4", "train", 1, [(OFF, 0.99)]),  # the model knows the answer
        ("P5", "test", None, [(OFF, 0.95)]),  # nobody knows whether it is false
    )
    # Lesions by their best mark: E3 (none), E2 (0.1), E0 (0.9). False marks: E3 (0.8), E1 (0.6), E0 (0.2), E2 (none).
    assert [exam.exam_id for exam in worst_marked(data, reading, CONFIG, 9)] == ["E3", "E2", "E1", "E0"]
    assert [exam.exam_id for exam in worst_marked(data, reading, CONFIG, 2)] == ["E3", "E2"]


def test_without_known_lesions_no_exam_is_the_worst():
    with pytest.raises(CaseError, match="no test patients whose lesions are known"):
        worst_marked(*site(("P0", "test", None, [(OFF, 0.9)]), ("P1", "train", 1, [(OFF, 0.9)])), CONFIG, 3)


def test_a_second_mark_on_a_lesion_is_no_false_one_to_look_at():
    data, reading = site(
        ("P0", "test", 1, [(ON, 0.9), (ON, 0.85)]), ("P1", "test", 0, [(OFF, 0.1)]), ("P2", "test", 1, [(ON, 0.95)])
    )
    assert [exam.exam_id for exam in worst_marked(data, reading, CONFIG, 2)] == ["E0", "E1"]


def test_operating_points_are_the_usual_rates_below_the_reports_and_its_own():
    marks = site_marks(*site(*FOUR), CONFIG)
    assert [point.rate for point in points_of(marks, 0.5)] == [0.25, 0.5]
    assert [point.rate for point in points_of(marks, 3.0)] == [0.25, 0.5, 1.0, 2.0, 3.0]
    assert [point.rate for point in points_of(marks, 0.1)] == [0.1]
