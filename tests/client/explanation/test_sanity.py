"""The parameter-randomisation check: gradient maps lose their likeness, an edge detector keeps it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel

from client.explanation.controls import control_maps
from client.explanation.sanity import cascading_randomisation
from common.models.backbones import BACKBONES
from tests.client.explanation.test_cam import classifier, hirescam, views


def edges(model, images):
    """Looks like an explanation, and never asks the model."""
    pixels = images[:, 0].numpy()
    return np.hypot(sobel(pixels, 1), sobel(pixels, 2)).astype(np.float32)


def intensity(model, images):
    return control_maps(images, 0)["intensity"]


@pytest.mark.parametrize("explain", [edges, intensity])
def test_what_does_not_look_at_the_model_fails(explain):
    for step in cascading_randomisation(classifier(), explain, views(), seed=0):
        assert step.correlation == pytest.approx(1.0)


def test_hirescam_passes():
    steps = list(cascading_randomisation(classifier(), hirescam, views(12, size=(128, 96)), seed=0))
    assert [step.stage for step in steps] == ["head", "layer4", "layer3", "layer2", "layer1", "stem"]
    assert abs(np.mean(steps[-1].correlation)) < 0.3
    assert np.mean(steps[-1].correlation) < np.mean(steps[0].correlation) + 0.3


def test_the_order_is_from_the_head_down_and_what_is_below_stays():
    """An explainer that reads the stem's weights only changes with the last step."""

    def stem(model, images):
        weight = model.backbone.conv1.weight.detach()
        found = torch.nn.functional.conv2d(images, weight[:1], padding=3).numpy()[:, 0]
        return np.ascontiguousarray(found)

    steps = list(cascading_randomisation(classifier(), stem, views(), seed=0))
    assert [bool(np.allclose(step.correlation, 1.0)) for step in steps] == [True] * 5 + [False]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_of_every_backbone_is_drawn_anew_and_the_model_is_untouched(backbone):
    model = classifier(backbone=backbone)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []

    def record(which, images):
        seen.append({name: value.clone() for name, value in which.named_parameters()})
        return images[:, 0].numpy()

    list(cascading_randomisation(model, record, views(1), seed=0))
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    kept = [
        name
        for name, value in seen[-1].items()
        if torch.equal(value, seen[0][name]) and value.min() != value.max()  # norms begin with ones and zeros
    ]
    assert kept == []


def test_same_seed_same_numbers():
    one, other = (
        [step.correlation for step in cascading_randomisation(classifier(), hirescam, views(), seed=3)] for _ in "12"
    )
    assert np.array_equal(one, other)
