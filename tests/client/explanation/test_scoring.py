"""Scores from values of single views: differences are paired, signs say who is better."""

import numpy as np
import pytest
import torch

from client.explanation.maps import Explanation
from client.explanation.quality import MapQuality
from client.explanation.scoring import score_methods, values_of
from common.configuration import EvaluationConfig
from common.imaging.box import Box

VIEWS, SIZE = 8, 16
PATIENTS = [f"patient {number // 2}" for number in range(VIEWS)]
BOXES = [[Box(0, 0, 8, 16)]] * VIEWS
"""The left half."""
IMAGES = torch.ones(VIEWS, 1, SIZE, SIZE)


def maps_with(energies):
    """Maps ``(N, 16, 16)`` of which so much lies in the left half."""
    maps = np.zeros((len(energies), SIZE, SIZE), np.float32)
    maps[:, :, :8] = np.asarray(energies, np.float32)[:, None, None]
    maps[:, :, 8:] = 1.0 - np.asarray(energies, np.float32)[:, None, None]
    return maps


def quality(**values):
    empty = np.full(VIEWS, 0.5)
    names = ("iou", "dice", "rank_accuracy", "deletion", "insertion", "faithfulness", "sensitivity")
    return MapQuality(**{name: np.asarray(values.get(name, empty), np.float64) for name in names})


def scored(energies, qualities=None):
    """By method, of energies in the box and qualities by method."""
    found = {}
    for method, values in energies.items():
        maps = maps_with(values)
        found[method] = values_of(Explanation(maps), maps[:2], (qualities or {}).get(method), IMAGES, BOXES)
    return score_methods(found, IMAGES, PATIENTS, EvaluationConfig(bootstrap_samples=200), seed=0)


def test_a_small_steady_lead_is_seen_where_the_intervals_overlap():
    own = np.linspace(0.2, 0.9, VIEWS)
    scores = scored({"gradcam": own, "intensity": own - 0.05, "random": np.full(VIEWS, 0.1)})
    one, other = scores["gradcam"].energy_in_box, scores["intensity"].energy_in_box
    assert one.low < other.high, "the intervals overlap"
    lead = scores["gradcam"].ahead["energy_in_box"]["intensity"]
    assert (lead.value, lead.low, lead.high) == pytest.approx((0.05, 0.05, 0.05), abs=1e-6)
    assert scores["gradcam"].ahead["energy_in_box"]["random"].value == pytest.approx(own.mean() - 0.1, abs=1e-6)


def test_the_interval_comes_from_patients_not_from_views():
    """Four patients whose two views are alike: every resampled mean is a mean of four values."""
    own = np.repeat([0.1, 0.2, 0.4, 0.8], 2)
    found = scored({"gradcam": own, "intensity": own, "random": own})["gradcam"].energy_in_box
    random = np.random.default_rng(1)
    means = random.choice([0.1, 0.2, 0.4, 0.8], (20000, 4)).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.05)


def test_less_deletion_is_a_lead_and_more_of_everything_else():
    energies = dict.fromkeys(("gradcam", "intensity", "random"), np.full(VIEWS, 0.5))
    low, high = {"deletion": [0.2] * VIEWS, "insertion": [0.3] * VIEWS}, {"deletion": [0.6] * VIEWS}
    qualities = {"gradcam": quality(**low), "intensity": quality(**high), "random": quality()}
    ahead = scored(energies, qualities)["gradcam"].ahead
    assert ahead["deletion"]["intensity"].value == pytest.approx(0.4)
    assert ahead["deletion"]["random"].value == pytest.approx(0.3)
    assert ahead["insertion"]["intensity"].value == pytest.approx(-0.2)
    assert "sensitivity" not in ahead, "what never asks the model is the steadiest of all"


def test_a_value_that_is_not_defined_is_left_out_of_the_mean():
    energies = dict.fromkeys(("gradcam", "intensity", "random"), np.full(VIEWS, 0.5))
    some = quality(sensitivity=[np.nan, *[0.25] * (VIEWS - 1)])
    scores = scored(energies, {"gradcam": some, "intensity": quality(), "random": quality(sensitivity=[np.nan] * 8)})
    assert scores["gradcam"].quality.sensitivity.value == pytest.approx(0.25)
    assert scores["random"].quality.sensitivity.value is None


def test_only_maps_that_methods_are_compared_by_are_kept():
    explanation, images, boxes = Explanation(maps_with([0.5] * VIEWS)), IMAGES, BOXES
    assert len(values_of(explanation, explanation.maps[:2], None, images, boxes).maps) == 0
    short = MapQuality(*[np.zeros(3)] * 7)
    assert len(values_of(explanation, explanation.maps[:2], short, images, boxes).maps) == 3
