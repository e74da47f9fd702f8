"""Grad-CAM where the answer is known, and that the model is afterwards what it was."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import interpolate, pad

from client.explanation.gradcam import control_maps, grad_cam, target_stage
from common.configuration import ModelConfig
from common.models.backbones import BACKBONES, Backbone, Stage
from common.models.classifier import BreastClassifier, build_classifier


class PatchBackbone(Backbone):
    """Means of 16 × 16 pixels as features: brightness and darkness; stages at strides 8, 16 and 32."""

    channels = 2
    stages = (
        Stage("fine", ("fine",), 8, 3.5),
        Stage("patches", ("patches",), 16, 7.5),
        Stage("last", ("last",), 32, 15.5),
    )

    def __init__(self):
        super().__init__()
        self.fine = nn.AvgPool2d(8)
        self.patches = nn.Conv2d(1, 2, 2, stride=2, bias=False)
        self.last = nn.AvgPool2d(2)
        with torch.no_grad():
            self.patches.weight[0], self.patches.weight[1] = 0.25, -0.25

    def forward(self, images):
        return self.last(self.patches(self.fine(images)))


def patch_classifier(weights, pooling="average"):
    model = BreastClassifier(PatchBackbone(), pooling, 4.0, 0.0, 0)
    with torch.no_grad():
        model.head.weight[:] = torch.tensor([weights])
        model.head.bias.zero_()
    return model


def classifier(**changes):
    return build_classifier(ModelConfig(**{"backbone": "resnet10", **changes}), seed=1)


def views(number=2, seed=0, size=(64, 48)):
    noise = torch.randn(number, 1, *size, generator=torch.Generator().manual_seed(seed))
    return noise.clamp(min=-2.5)  # tissue everywhere: -3 is air


@pytest.mark.parametrize("pooling", ["average", "lse"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (5, 7)])
def test_the_map_is_highest_at_the_patch_the_logit_depends_on(pooling, row, column):
    cell = 8
    view = torch.zeros(1, 1, 64, 96)
    view[0, 0, cell * row : cell * row + cell, cell * column : cell * column + cell] = 3.0
    found = grad_cam(patch_classifier([1.0, 0.0], pooling), view)[0]
    highest = np.unravel_index(found.argmax(), found.shape)
    assert (highest[0] // cell, highest[1] // cell) == (row, column)
    assert found[highest] > 0.0
    far = np.ones_like(found, dtype=bool)
    far[max(0, cell * (row - 1)) : cell * (row + 2), max(0, cell * (column - 1)) : cell * (column + 2)] = False
    assert np.all(found[far] == 0.0)


@pytest.mark.parametrize("pooling", ["average", "lse"])
def test_air_is_never_an_explanation(pooling):
    images = views(2)
    images[:, :, :, 24:] = -3.0
    found = grad_cam(classifier(pooling=pooling), images)
    assert np.all(found[:, :, 24:] == 0.0)
    assert found[:, :, :24].max() > 0.0


def test_values_are_those_of_the_paper_not_scaled():
    # The logit is the mean of 8 × 12 cells of 8 × 8 pixels: each cell's gradient is 1/96.
    view = torch.zeros(2, 1, 64, 96)
    view[0, 0, 16:32, 32:48], view[1, 0, 16:32, 32:48] = 3.0, 6.0
    found = grad_cam(patch_classifier([1.0, 0.0]), view)
    assert found[:, 24, 40] == pytest.approx([3.0 / 96, 6.0 / 96], rel=1e-5)


def test_what_speaks_against_malignancy_is_not_shown():
    view = torch.zeros(1, 1, 64, 96)
    view[0, 0, 16:32, 32:48] = 3.0
    assert np.all(grad_cam(patch_classifier([-1.0, 0.0]), view) == 0.0)
    assert np.all(grad_cam(patch_classifier([0.0, 1.0]), view) == 0.0)


@pytest.mark.parametrize("pooling", ["average", "lse"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet10_equals_grad_cam_by_hand(pooling, norm):
    model, images = classifier(pooling=pooling, norm=norm), views(3)
    model.train()
    model(views(8, seed=5))  # statistics that are not the initial ones
    found = grad_cam(model, images)
    model.eval()
    layers = model.backbone
    activations = layers.layer2(layers.layer1(layers.maxpool(layers.relu(layers.bn1(layers.conv1(images))))))
    features = layers.layer4(layers.layer3(activations))
    if pooling == "average":
        logits = model.head(features.mean(dim=(2, 3)))[:, 0]
    else:
        local = model.head(features.permute(0, 2, 3, 1))[..., 0].flatten(1)
        logits = (4.0 * local).exp().mean(dim=1).log() / 4.0
    activations.retain_grad()
    logits.sum().backward()
    coarse = torch.relu((activations.grad * activations).sum(dim=1, keepdim=True)).detach()
    assert coarse.shape == (3, 1, 8, 6)
    # Cells are centred on every 8th pixel from 0 on.
    expected = interpolate(coarse, size=(57, 41), mode="bilinear", align_corners=True)
    expected = pad(expected, (0, 7, 0, 7), mode="replicate")[:, 0]
    assert expected.max() > 0.0, "a case that tests something"
    scale = expected.max().item()
    np.testing.assert_allclose(found / scale, expected.numpy() / scale, atol=1e-5)


def test_a_view_is_explained_alone():
    model, images = classifier(norm="group"), views(3)
    together = grad_cam(model, images)
    alone = np.concatenate([grad_cam(model, images[index : index + 1]) for index in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6 + 1e-4 * together.max())


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_every_backbone_gives_maps_at_stride_8(backbone):
    if backbone == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    model = classifier(backbone=backbone, norm="group")
    sizes = []
    layer = model.backbone.get_submodule(target_stage(model).modules[-1])
    handle = layer.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[2:]))
    found = grad_cam(model, views())
    handle.remove()
    assert sizes == [(8, 6)]
    assert (found.shape, found.dtype) == ((2, 64, 48), np.float32)
    assert np.isfinite(found).all()
    assert found.min() >= 0.0


def state_of(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
        [(len(module._forward_hooks), len(module._backward_hooks)) for module in model.modules()],
    )


def assert_same(before, after):
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:3] == after[1:3]
    for one, other in zip(before[3], after[3], strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    assert before[4] == after[4]


@pytest.mark.parametrize("frozen", [0, 2, 5])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_the_model_is_afterwards_what_it_was(frozen, training, gradients):
    model = classifier(frozen_stages=frozen).train(training)
    if gradients:
        model(views(4)).sum().backward()
    before = state_of(model)
    with torch.no_grad():
        grad_cam(model, views())
    assert_same(before, state_of(model))
    assert torch.is_grad_enabled()


def test_the_model_is_restored_even_when_explaining_fails():
    model = classifier(frozen_stages=1).train()
    before = state_of(model)
    with pytest.raises(RuntimeError):
        grad_cam(model, torch.zeros(1, 3, 64, 48))
    assert_same(before, state_of(model))


def test_freezing_does_not_change_the_map():
    whole, frozen = (grad_cam(classifier(norm="group", frozen_stages=number), views()) for number in (0, 5))
    assert whole.max() > 0.0
    np.testing.assert_array_equal(whole, frozen)


def prepared_views():
    """Two views as the pipeline prepares them: a half disc of values around 0, -3 outside."""
    rows, columns = np.mgrid[:64, :48]
    breast = (rows - 32) ** 2 + columns**2 < 30**2
    values = np.random.default_rng(0).normal(size=(2, 64, 48)).clip(-2.9, 4.0)
    values[0, 30, 10] = 4.9
    return torch.from_numpy(np.where(breast, values, -3.0).astype(np.float32))[:, None], breast


def test_controls_are_zero_outside_the_breast_and_positive_inside():
    images, breast = prepared_views()
    maps = control_maps(images, 0)
    assert set(maps) == {"intensity", "random"}
    for found in maps.values():
        assert (found.shape, found.dtype) == ((2, 64, 48), np.float32)
        assert np.all(found[:, ~breast] == 0.0)
        assert np.all(found >= 0.0)
        assert np.all(found[:, breast].std(axis=1) > 0.0)


def test_the_intensity_control_is_the_image():
    images, breast = prepared_views()
    found = control_maps(images, 0)["intensity"]
    np.testing.assert_allclose(found[:, breast], images[:, 0].numpy()[:, breast] + 3.0, atol=1e-6)
    assert np.unravel_index(found[0].argmax(), (64, 48)) == (30, 10)


def test_the_random_control_is_smooth_seeded_and_blind():
    images, breast = prepared_views()
    first, again, other = (control_maps(images, seed)["random"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    inside = first[0][breast]
    assert abs(spearmanr(inside, images[0, 0].numpy()[breast]).statistic) < 0.2
    steps = np.abs(np.diff(first[0], axis=1))[breast[:, 1:] & breast[:, :-1]]
    assert steps.mean() < 0.2 * inside.std(), "neighbours are alike"


def test_a_blank_image_gives_blank_controls():
    maps = control_maps(torch.full((1, 1, 32, 32), -3.0), 0)
    assert all(np.all(found == 0.0) for found in maps.values())
