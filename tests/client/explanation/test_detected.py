"""Explanations of a detector: the gradient is that of its surest box, and maps find what it was taught to find."""

import numpy as np
import pytest
import torch

from client.explanation.cam import CAMS, cam
from client.explanation.detected import DetectedScore, PlaceScore, anchors_at
from client.explanation.explainers import EXPLAINERS
from client.explanation.sanity import cascading_randomisation
from common.errors import ExplainerError
from tests.client.explanation.conftest import squares
from tests.common.models.test_detector import pictures


def test_the_explained_score_is_that_of_the_surest_detection(taught):
    images, _ = squares(np.random.default_rng(1), 3)
    with torch.no_grad():
        found, scores = taught(images), DetectedScore(taught)(images)
    first = [one.scores[0] for one in taught.detections([found], [False])]
    torch.testing.assert_close(scores.sigmoid(), torch.stack(first))


def test_the_score_of_a_detections_place_is_that_of_the_detection(taught):
    """And never below it: a surer anchor beside it may have been suppressed by one that is surer still."""
    images, _ = squares(np.random.default_rng(1), 3)
    with torch.no_grad():
        found = taught(images)
        several = 0
        for number, one in enumerate(taught.detections([found], [False])):
            for place, (box, score) in enumerate(list(zip(one.boxes, one.scores, strict=True))[:5]):
                sure = PlaceScore(taught, anchors_at(taught, found, number, box))(images)[number].sigmoid()
                assert sure >= score - 1e-6
                if place == 0:
                    torch.testing.assert_close(sure, score)
                several += 1
    assert several > 5


def test_a_place_where_no_box_lies_is_spoken_for_by_the_nearest(taught):
    images, _ = squares(np.random.default_rng(1), 1)
    with torch.no_grad():
        found = taught(images)
    tiny = torch.tensor([20.0, 20.0, 20.5, 20.5])
    (anchor,) = anchors_at(taught, found, 0, tiny).tolist()
    x0, y0, x1, y1 = taught.coder.decode_single(found.offsets[0], found.anchors)[anchor].tolist()
    assert x0 < 20.5 and x1 > 20 and y0 < 20.5 and y1 > 20


@pytest.mark.parametrize("name", ["hirescam", "layercam"])
def test_maps_point_at_the_square(taught, name):
    images, boxes = squares(np.random.default_rng(2), 12)
    maps = cam(name, DetectedScore(taught), images)
    hits = 0
    for found, (x0, y0, x1, y1) in zip(maps, boxes, strict=True):
        row, column = np.unravel_index(found.argmax(), found.shape)
        hits += x0 - 2 <= column < x1 + 2 and y0 - 2 <= row < y1 + 2
    assert hits >= 9


@pytest.mark.parametrize("name", [name for name in CAMS if name != "scorecam"])
def test_every_map_is_of_the_images_size_and_the_detector_is_as_before(taught, name):
    before = {key: value.clone() for key, value in taught.state_dict().items()}
    maps = cam(name, DetectedScore(taught), pictures(2))
    assert maps.shape == (2, 64, 48) and np.isfinite(maps).all() and (maps >= 0).all()
    assert all(torch.equal(value, before[key]) for key, value in taught.state_dict().items())
    assert not taught.training


def test_a_detector_forgets_from_its_towers_down(taught):
    images, _ = squares(np.random.default_rng(3), 8)
    steps = list(
        cascading_randomisation(DetectedScore(taught), lambda model, some: cam("hirescam", model, some), images, 0)
    )
    assert steps[0].stage == "head" and steps[-1].stage == "stem"
    assert np.nanmean(steps[-1].correlation) < 0.6


@pytest.mark.parametrize("name", ["shap", "expected_gradients", "scorecam"])
def test_what_follows_a_classifiers_arithmetic_is_refused_by_name(taught, name):
    with pytest.raises(ExplainerError, match=f"{name}.* explains classifiers"):
        EXPLAINERS[name](DetectedScore(taught), pictures(1), pictures(1))
