"""Explanations of a detector: the gradient is that of its surest box, and maps find what it was taught to find."""

import numpy as np
import pytest
import torch

from client.explanation.cam import CAMS, cam
from client.explanation.detected import DetectedScore
from client.explanation.explainers import EXPLAINERS
from client.explanation.sanity import cascading_randomisation
from common.errors import ExplainerError
from tests.common.models.test_detector import build_detector, pictures, task


@pytest.fixture(scope="module")
def taught():
    """A detector of bright squares on noise, and pictures with one square each, and where it is."""
    torch.manual_seed(0)
    model, random = build_detector(task(), 0), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        images, boxes = squares(random, 4)
        loss = model.losses(model(images), [torch.tensor([box], dtype=torch.float32) for box in boxes]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def squares(random, number):
    images, boxes = random.normal(0, 0.5, (number, 1, 64, 48)).astype(np.float32), []
    for image in images:
        x, y, side = random.integers(2, 30), random.integers(2, 46), random.integers(12, 17)
        image[0, y : y + side, x : x + side] += 3
        boxes.append((x, y, x + side, y + side))
    return torch.from_numpy(images), boxes


def test_the_explained_score_is_that_of_the_surest_detection(taught):
    images, _ = squares(np.random.default_rng(1), 3)
    with torch.no_grad():
        found, scores = taught(images), DetectedScore(taught)(images)
    first = [one.scores[0] for one in taught.detections([found], [False])]
    torch.testing.assert_close(scores.sigmoid(), torch.stack(first))


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
