"""Quality measures on a model whose only evidence is one bright patch: a map of the patch must win everywhere."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from client.explanation.controls import control_maps
from client.explanation.quality import measure_quality
from common.imaging.box import Box
from tests.client.explanation.test_cam import classifier, hirescam, patch_classifier

BOX = Box(24, 16, 32, 24)
"""One cell of the patch classifier's finest stage."""


def pictures(number=3):
    random = np.random.default_rng(0)
    images = np.full((number, 64, 48), -3.0, np.float32)
    images[:, :, :40] = random.normal(0.0, 0.3, (number, 64, 40)).clip(-2.5)
    images[:, 16:24, 24:32] += 5.0
    return images


def intensity(model, images):
    return control_maps(images, 0)["intensity"]


def noise(model, images):
    return control_maps(images, 1)["random"]


def elsewhere(model, images):
    found = np.zeros((len(images), 64, 48), np.float32)
    found[:, 40:48, 8:16] = 1.0
    return found


def bright():
    """Sees brightness alone, and most where it is brightest."""
    return patch_classifier([2.0, 0.0], "lse")


def measured(explain, model=None):
    images = pictures()
    return measure_quality(model or bright(), explain, images, [[BOX]] * len(images), seed=0)


def test_the_map_of_the_cause_beats_a_map_of_elsewhere_in_every_measure():
    right, wrong = measured(hirescam), measured(elsewhere)
    assert np.all(right.iou > wrong.iou)
    assert np.all(right.rank_accuracy > 0.5)
    assert np.all(wrong.rank_accuracy == 0.0)
    assert np.all(right.deletion < wrong.deletion)
    assert np.all(right.insertion > wrong.insertion)
    assert right.faithfulness.mean() > 0.3 > wrong.faithfulness.mean()


@pytest.mark.parametrize("control", [intensity, noise, elsewhere])
def test_what_never_asks_the_model_keeps_its_map_when_the_model_forgets(control):
    model = classifier()
    kept = measured(control, model).randomised
    assert kept == pytest.approx(1.0)
    assert np.all(measured(hirescam, model).randomised < 0.9)


def test_every_view_has_a_value_and_the_model_is_as_before():
    model = classifier()
    model.train()
    model.backbone.bn1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = measured(hirescam, model)
    for field in fields(found):
        values = getattr(found, field.name)
        assert values.shape == (3,)
        assert np.isfinite(values).all()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training and not model.backbone.bn1.training
