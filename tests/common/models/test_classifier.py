"""The classifier: pooling by hand, frozen stages, seeds, groups for the optimiser."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from common.configuration import ModelConfig, TrainingConfig
from common.errors import ConfigurationError
from common.models.backbones import BACKBONES, Backbone, Stage
from common.models.classifier import BreastClassifier, build_classifier, pool_views
from common.models.parameter_groups import parameter_groups


class PixelBackbone(Backbone):
    """Gives the image itself as its only feature, so that local logits can be chosen."""

    channels = 1
    stages = (Stage("all", ("same",), 1),)

    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, images):
        return self.same(images)


def pixel_classifier(pooling, sharpness):
    model = BreastClassifier(PixelBackbone(), pooling, sharpness, 0.0, 0)
    nn.init.ones_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def small(**changes):
    return build_classifier(ModelConfig(backbone="resnet10", **changes), seed=1)


def views(number=2, seed=0):
    return torch.randn(number, 1, 64, 48, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sharpness", [0.5, 4.0])
def test_lse_is_the_formula_of_the_paper(sharpness):
    image = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    expected = math.log(np.mean(np.exp(sharpness * np.array([1.0, -2.0, 0.5, 3.0])))) / sharpness
    assert pixel_classifier("lse", sharpness)(image[None, None]).item() == pytest.approx(expected, rel=1e-5)


def test_lse_lies_between_mean_and_maximum_and_reaches_both():
    image = torch.randn(3, 1, 7, 5, generator=torch.Generator().manual_seed(3))
    mean, maximum = image.mean(dim=(1, 2, 3)), image.amax(dim=(1, 2, 3))
    torch.testing.assert_close(pixel_classifier("lse", 1e-3)(image), mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(pixel_classifier("lse", 1e4)(image), maximum, atol=1e-3, rtol=0)
    between = pixel_classifier("lse", 4.0)(image)
    assert torch.all((between > mean) & (between < maximum))


def test_lse_does_not_depend_on_the_size_of_the_view():
    patch = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(4))
    model = pixel_classifier("lse", 4.0)
    torch.testing.assert_close(model(patch), model(patch.repeat(1, 1, 2, 3)))


def test_lse_survives_huge_logits():
    assert pixel_classifier("lse", 4.0)(torch.full((1, 1, 2, 2), 1e4)).item() == pytest.approx(1e4)


def test_a_small_lesion_counts_more_with_lse_than_with_average():
    view = torch.zeros(1, 1, 16, 16)
    view[0, 0, 3, 3] = 5.0
    assert pixel_classifier("lse", 4.0)(view).item() > 3.0
    assert pixel_classifier("average", 4.0)(view).item() < 0.05


@pytest.mark.parametrize("pooling", ["average", "lse"])
def test_pooled_logit_follows_from_the_local_logits(pooling):
    model = small(pooling=pooling, lse_sharpness=2.0).eval()
    with torch.no_grad():
        local, pooled = model.local_logits(views()).flatten(1), model(views())
    assert local.shape == (2, 2 * 2)
    by_hand = local.mean(dim=1) if pooling == "average" else (2.0 * local).exp().mean(dim=1).log() / 2.0
    torch.testing.assert_close(pooled, by_hand, atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_only():
    model = small(dropout=0.5, norm="group")
    model.eval()
    assert torch.equal(model(views()), model(views()))
    model.train()
    assert not torch.equal(model(views()), model(views()))


def test_a_breast_is_the_mean_of_its_views():
    logits = torch.tensor([1.0, 4.0, -2.0, 0.5, 3.0])
    pooled = pool_views(logits, torch.tensor([1, 0, 1, 2, 0]), 3)
    torch.testing.assert_close(pooled, torch.tensor([3.5, -0.5, 0.5]))


def test_pooling_of_views_lets_gradients_through():
    logits = torch.zeros(3, requires_grad=True)
    (pool_views(logits, torch.tensor([0, 0, 1]), 2) * torch.tensor([1.0, 10.0])).sum().backward()
    assert logits.grad.tolist() == [0.5, 0.5, 10.0]


def test_the_seed_decides_all_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (build_classifier(ModelConfig(backbone="resnet10"), seed).state_dict() for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in ("backbone.conv1.weight", "backbone.layer4.0.conv2.weight", "head.weight"):
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_the_seed_decides_for_every_backbone(backbone):
    if backbone == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    torch.manual_seed(1)
    first = build_classifier(ModelConfig(backbone=backbone), 3).state_dict()
    torch.manual_seed(2)
    again = build_classifier(ModelConfig(backbone=backbone), 3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("backbone", ["resnet10", "densenet121", "efficientnet_b0"])
def test_frozen_stages_neither_learn_nor_count(backbone):
    model = build_classifier(ModelConfig(backbone=backbone, frozen_stages=2), seed=1)
    model.eval()
    model.train()
    frozen = [f"backbone.{module}." for stage in model.stages[:2] for module in stage.modules]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(parameter_groups(model, TrainingConfig()), lr=0.1)
    model(views(4)).square().sum().backward()
    optimizer.step()
    after = model.state_dict()
    still = [name for name in before if name.startswith(tuple(frozen))]
    assert any("running_mean" in name for name in still), "batch statistics are among them"
    assert all(torch.equal(before[name], after[name]) for name in still)
    assert all(value.grad is None for name, value in model.named_parameters() if name in still)
    moving = [name for name in before if name not in still]
    for kind in ("running_mean", "weight"):
        assert any(not torch.equal(before[name], after[name]) for name in moving if name.endswith(kind))
    assert all(value.grad is not None for name, value in model.named_parameters() if name in moving)


def test_all_stages_frozen_leaves_the_head_to_learn():
    model = small(frozen_stages=5)
    assert {name for name, value in model.named_parameters() if value.requires_grad} == {"head.weight", "head.bias"}


def test_more_frozen_stages_than_there_are_is_refused():
    with pytest.raises(ConfigurationError, match="the backbone has 5 stages, 6 cannot be frozen"):
        small(frozen_stages=6)


def test_parameter_groups_hold_every_learning_parameter_once():
    model = small(norm="group", frozen_stages=1)
    training = TrainingConfig(learning_rate=0.01, head_learning_rate_factor=10.0, weight_decay=0.2)
    groups = parameter_groups(model, training)
    place = {id(parameter): group for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(place)
    for name, parameter in model.named_parameters():
        assert (id(parameter) in place) == parameter.requires_grad, name
    rates = {
        name: (place[id(value)]["lr"], place[id(value)]["weight_decay"])
        for name, value in model.named_parameters()
        if id(value) in place
    }
    assert rates["head.weight"] == (pytest.approx(0.1), 0.2)
    assert rates["head.bias"] == (pytest.approx(0.1), 0.0)
    assert rates["backbone.layer1.0.conv1.weight"] == (0.01, 0.2)
    assert rates["backbone.layer1.0.bn1.weight"] == (0.01, 0.0)


def test_air_is_no_evidence_in_log_sum_exp_pooling():
    model = build_classifier(ModelConfig(backbone="resnet10", pooling="lse"), seed=0).eval()
    breast = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    breast[..., 32:] = -3.0
    local = model.local_logits(breast)[0, :, :1]  # a cell has 32 pixels; the right column is air
    expected = torch.logsumexp(4.0 * local.flatten(), 0) - torch.log(torch.tensor(2.0))
    torch.testing.assert_close(model(breast)[0], expected / 4.0)
