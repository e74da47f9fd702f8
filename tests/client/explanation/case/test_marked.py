"""A detector's case on a site of bright squares: marks, maps and trials of a detector that was taught to find them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.detection.reading import read_site
from client.explanation.cam import cam
from client.explanation.case.choice import exams
from client.explanation.case.marked import Marking, make_marked_case
from common.configuration import TrainingConfig
from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.imaging.box import Box
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry
from common.models.published import PublishedDetector
from tests.common.models.test_detector import task

ROWS, COLUMNS, SCALE = 64, 48, 4
EXPLAINERS = {"hirescam": lambda model, images: cam("hirescam", model, images)}
SQUARE = (12, 20, 27, 35)
"""In pixels of the input."""


def view_of(folder, name, with_square, mirrored, boxes):
    """A prepared view and its original, four times as large; mirrored if the breast is."""
    random = np.random.default_rng(len(name))
    pixels = random.normal(0, 0.5, (ROWS, COLUMNS)).astype(np.float32)
    x0, y0, x1, y1 = SQUARE
    if with_square:
        pixels[y0:y1, x0:x1] += 3
    large = np.kron(pixels[:, ::-1] if mirrored else pixels, np.ones((SCALE, SCALE)))
    file = Path(folder) / f"{name}.png"
    Image.fromarray((20 * large + 100).clip(0, 255).astype(np.uint8)).save(file)
    np.save(Path(folder) / f"{name}.npy", pixels.astype(np.float16))
    stored = (ROWS * SCALE, COLUMNS * SCALE)
    geometry = Geometry(*stored, (0, 0, stored[1], stored[0]), mirrored, False, ROWS, COLUMNS, (ROWS, COLUMNS), 0)
    facts = ImageFacts(FileFacts("PNG", 8), PixelFacts(f"{len(name):064x}", False, False, 0.5))
    return View(file, name, 2, boxes), CachedImage(Path(folder) / f"{name}.npy", geometry, facts)


@pytest.fixture(scope="module")
def marking(taught, tmp_path_factory):
    """One exam: in the right breast's first view a square, in its second none; of the left breast nothing is known."""
    folder = tmp_path_factory.mktemp("site")
    x0, y0, x1, y1 = (SCALE * edge for edge in SQUARE)
    width = SCALE * COLUMNS
    mirrored = Box(width - x1, y0, width - x0, y1)
    right = [view_of(folder, "CC", True, True, (mirrored,)), view_of(folder, "MLO", False, True, ())]
    left = [view_of(folder, "LCC", True, False, None)]
    breasts = [
        Breast("P", "E", side, "malignant", "test", tuple(view for view, _ in views))
        for side, views in (("R", right), ("L", left))
    ]
    data = SiteData("TUH", tuple(breasts), tuple(tuple(image for _, image in views) for views in (right, left)))
    exact = replace(task(), training=TrainingConfig(precision="fp32", threads=1))
    published = PublishedDetector(taught, exact, 1, 0.0, "")
    return Marking(published, data, read_site(taught, data, published.task, ""))


def case_of(marking, threshold):
    return make_marked_case(marking, EXPLAINERS, exams(marking.data)[0], threshold, seed=0)


@pytest.fixture(scope="module")
def case(marking):
    return case_of(marking, 0.4)


def test_a_mark_lies_on_the_original_where_the_square_is(case):
    for item, mirrored in zip(case.breasts, (True, False), strict=True):
        mark = item.views[0].marks[0]
        x0, y0, x1, y1 = (SCALE * edge for edge in SQUARE)
        if mirrored:
            x0, x1 = SCALE * COLUMNS - x1, SCALE * COLUMNS - x0
        found = (mark.box.x0, mark.box.y0, mark.box.x1, mark.box.y1)
        assert found == pytest.approx((x0, y0, x1, y1), abs=3 * SCALE)
        assert mark.shown == found  # so small an original is not scaled down
        row, column = np.unravel_index(mark.maps["hirescam"].argmax(), mark.maps["hirescam"].shape)
        assert x0 - 8 <= column < x1 + 8 and y0 - 8 <= row < y1 + 8


def test_marks_are_those_of_the_detector_in_order(case, marking):
    (reading,) = [view for view in marking.reading.views if (view.breast, view.view) == (0, 0)]
    view = case.breasts[0].views[0]
    scores = [mark.score for mark in (*view.marks, *view.weaker)]
    assert scores == reading.scores.tolist()
    assert all(mark.score >= 0.4 for mark in view.marks) and all(mark.score < 0.4 for mark in view.weaker)


def test_lesions_are_found_missed_or_not_known(case, marking):
    square, empty, unknown = (*case.breasts[0].views, *case.breasts[1].views)
    assert square.marks[0].on_lesion is True and square.missed == 0
    assert empty.missed == 0 and empty.boxes == ()
    assert unknown.missed is None and unknown.marks[0].on_lesion is None
    nothing = case_of(marking, 1.1).breasts[0].views[0]
    assert nothing.missed == 1 and not nothing.marks and len(nothing.weaker) == len(square.marks) + len(square.weaker)


def test_without_its_tissue_a_mark_is_gone_and_without_other_tissue_it_stays(case):
    for item in case.breasts:
        mark = item.views[0].marks[0]
        assert mark.what_if.now == pytest.approx(mark.score, abs=1e-4)
        assert mark.what_if.without < 0.4 * mark.score
        assert mark.what_if.elsewhere > 0.8 * mark.score


def test_a_detector_that_also_looks_upside_down_is_explained_by_both_looks(marking):
    task = marking.published.task
    task = replace(task, detector=replace(task.detector, test_flips=True))
    published = replace(marking.published, task=task)
    both = Marking(published, marking.data, read_site(published.model, marking.data, task, ""))
    for item in case_of(both, 0.4).breasts:
        mark = item.views[0].marks[0]
        assert mark.what_if.now == pytest.approx(mark.score, abs=1e-4)
        assert mark.what_if.without < 0.4 * mark.score < mark.what_if.elsewhere


def test_the_breasts_score_falls_with_its_marks(case):
    right = dict(case.breasts[0].what_if)
    assert list(right) == [
        "what it marked, CC only", "what it marked, MLO only", "what it marked, every view",
        "as much tissue at other places (mean of eight tries)", "what the doctors marked, every view",
    ]  # fmt: skip
    score = case.breasts[0].score
    assert right["what it marked, every view"] < 0.8 * score
    assert right["what the doctors marked, every view"] < 0.8 * score
    assert right["as much tissue at other places (mean of eight tries)"] > right["what it marked, every view"]


def test_a_view_without_a_mark_has_an_empty_map_and_nothing_to_take_away(marking):
    for item in case_of(marking, 1.1).breasts:
        assert all(not view.marks and not view.maps["hirescam"].any() for view in item.views)
        taken = [what for what, _ in item.what_if]
        assert taken == (["what the doctors marked, every view"] if item.breast.laterality == "R" else [])
