"""The report of a detector: the curve of what it found, counts that may leave, what is undefined."""

from dataclasses import replace

import numpy as np
import pytest

from client.detection.evaluation import curve, measure, summarise
from client.evaluation import MINIMUM_CELL
from client.tasks.detector import validate
from common.configuration import EvaluationConfig
from common.metrics.froc import GRID
from common.metrics.paired_froc import RATE
from common.models.detector import build_detector
from simulations.comparison.answers import answers_of, only_of, read_answers, write_answers

FEW = EvaluationConfig(bootstrap_samples=50)


def part(data, reading, breasts):
    chosen = list(breasts)
    views = [replace(view, breast=chosen.index(view.breast)) for view in reading.views if view.breast in chosen]
    data = replace(
        data,
        breasts=tuple(data.breasts[index] for index in chosen),
        views=tuple(data.views[index] for index in chosen),
    )
    return data, replace(reading, views=views, logits=reading.logits[chosen])


def test_all_found_is_a_perfect_curve(squares, perfect):
    """Ten lesions in five breasts of twenty known views; unknown views judge nothing."""
    report = measure(squares, perfect, FEW, 0)
    found = report.froc
    assert (found.images, found.lesions, found.breasts) == (20, 10, 5)
    assert found.false_positives == list(GRID)
    assert {point.value for point in (*found.per_lesion, *found.per_breast)} == {1.0}
    assert found.mean_per_lesion.low == found.mean_per_lesion.high == 1.0
    assert (report.patients, report.images, report.malignant) == (12, 24, 2)
    assert report.brier.value is None and report.calibration == [], "scores are no probabilities"
    assert report.auc.low <= report.auc.value <= report.auc.high and report.loss == 0.5


def test_rounds_have_no_intervals(squares, perfect):
    found = summarise(squares, perfect, FEW).froc
    assert found.mean_per_lesion.value == 1.0 and found.mean_per_lesion.low is None


def test_a_curve_over_few_patients_stays_at_the_site(squares, perfect):
    assert MINIMUM_CELL == 5
    assert curve(*part(squares, perfect, range(10)), FEW, 0, 0) is not None
    assert curve(*part(squares, perfect, range(8)), FEW, 0, 0) is None, "four patients with a lesion"


def test_without_known_lesions_there_is_an_auc_and_no_curve(squares, perfect):
    """A site that nobody drew boxes at can still say how breasts are ranked."""
    unknown = replace(perfect, views=[replace(view, lesions=None) for view in perfect.views])
    report = measure(squares, unknown, FEW, 0)
    assert report.froc is None and report.auc.value is not None


def test_the_hit_rule_is_the_one_asked_for(squares, perfect):
    """Marks of the lesions' middle fifth: inside by their centre, too small an overlap."""

    def shrunk(view):
        middle, reach = (view.boxes[:, :2] + view.boxes[:, 2:]) / 2, (view.boxes[:, 2:] - view.boxes[:, :2]) / 10
        return replace(view, boxes=np.concatenate([middle - reach, middle + reach], axis=1))

    small = replace(perfect, views=[shrunk(view) for view in perfect.views])
    assert measure(squares, small, FEW, 0).froc.mean_per_lesion.value == 0.0
    by_centre = replace(FEW, hit_rule="centre")
    assert measure(squares, small, by_centre, 0).froc.mean_per_lesion.value == pytest.approx(1.0)


def test_without_patients_there_are_counts_and_nothing_else(squares, perfect):
    report = summarise(*part(squares, replace(perfect, loss=None), []), FEW)
    assert (report.patients, report.froc, report.auc.value, report.loss) == (0, None, None, None)


@pytest.mark.parametrize("rule", ["iou", "centre"])
def test_what_a_comparison_of_detectors_reads_gives_the_figure_of_the_report_and_survives_a_file(
    squares, task, tmp_path, rule
):
    task = replace(task, evaluation=replace(task.evaluation, hit_rule=rule, hit_overlap=0.05))
    model = build_detector(task, 1)
    report = validate(model, squares, task, "")
    write_answers(tmp_path / "a.npz", {"TUH": answers_of(model, squares, task, "")})
    found = read_answers(tmp_path / "a.npz")["TUH"]
    found.require_sound()
    assert found.value() == report.froc.per_lesion[GRID.index(RATE)].value
    assert (found.images.sum(), found.lesions.sum(), len(found.patients)) == (20, 10, 10)
    assert len(found.scores) > 20 and len(only_of(found, found.patients[:3]).patients) == 3
