"""Deep SHAP and expected gradients: sums against direct forward passes, values against shap and by hand."""

import numpy as np
import pytest
import shap
import torch
from torch import nn

from client.explanation import maps
from client.explanation.attribution import deep_shap, expected_gradients
from common.configuration import ModelConfig
from common.errors import ExplainerError
from common.models.backbones import BACKBONES, Backbone, Stage
from common.models.classifier import BreastClassifier, build_classifier

QUICK = ("resnet8", "resnet10")


class Chain(Backbone):
    """A backbone of whatever layers."""

    def __init__(self, channels, *layers):
        super().__init__()
        self.channels, self.stages = channels, (Stage("all", ("layers",), 8),)
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images)


def views(number, seed, air=False, size=(64, 48)):
    """Blotchy tissue; with air it ends in another column of every view."""
    noise = torch.randn(number, 1, *size, generator=torch.Generator().manual_seed(seed))
    images = (4 * nn.functional.avg_pool2d(noise, 5, 1, 2)).clamp(min=-2.5)
    for index in range(number if air else 0):
        images[index, :, :, 16 + (11 * (index + seed)) % 28 :] = -3.0
        images[index, :, : 4 + 3 * index] = -3.0
    return images


def classifier(backbone="resnet8", seed=3, **changes):
    """With statistics of the very views, so that logits differ."""
    if backbone == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    model = build_classifier(ModelConfig(backbone=backbone, **changes), seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over what was seen
            module.reset_running_stats()
    with torch.no_grad():
        for start in range(3):
            model.train()(views(6, 50 + start, air=True))
        model.head.weight *= 5.0
    return model.eval()


def differences(model, images, background):
    with torch.no_grad():
        return (model(images) - model(background).mean()).double().numpy()


def check_sums(model, limit):
    # Views that are tissue everywhere: no pixel is cut off, so that the maps themselves must add up.
    images, background = views(2, 1), views(3, 2, air=True)
    found = deep_shap(model, images, background)
    expected = differences(model, images, background)
    assert np.abs(expected).max() > 0.01, "a case that tests something"
    assert found.maps.shape == (2, 64, 48)
    sums = found.maps.astype(np.float64).sum(axis=(1, 2))
    assert np.abs(sums - expected).max() <= limit * np.abs(expected).max()
    assert found.gap.max() < limit


@pytest.mark.parametrize("pooling", ["average", "lse"])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("backbone", QUICK)
def test_deep_shap_adds_up(backbone, norm, pooling):
    check_sums(classifier(backbone, norm=norm, pooling=pooling), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name not in QUICK])
def test_deep_shap_adds_up_on_every_backbone(backbone, norm):
    """With the harder pooling; the head is the same behind every backbone, and the quick ones try both."""
    check_sums(classifier(backbone, norm=norm, pooling="lse"), 1e-3)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_weights_trained_in_bf16_are_explained_in_float32(norm):
    model = classifier(norm=norm, pooling="lse").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.softplus(-model(views(4, 9, air=True))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    check_sums(model.eval(), 1e-3)
    images, background = views(2, 1), views(3, 2)
    plain = deep_shap(model, images, background).maps
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        np.testing.assert_array_equal(deep_shap(model, images, background).maps, plain)
    assert deep_shap(model.bfloat16(), images, background).gap.max() < 1e-3


def test_deep_shap_is_the_packages_where_that_is_right():
    layers = [
        nn.Conv2d(1, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, 2, 1),
        nn.ReLU(),
    ]
    torch.manual_seed(0)
    model = BreastClassifier(Chain(8, *layers), "average", 4.0, 0.0, 0)
    with torch.no_grad():
        model.train()(views(8, 5))
    model.eval()
    plain = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head).eval()
    images, background = views(2, 1), views(4, 2)
    expected = shap.DeepExplainer(plain, background).shap_values(images)[:, 0, :, :, 0]
    found = deep_shap(model, images, background).maps
    assert expected.max() > 0.0
    np.testing.assert_allclose(found / expected.max(), expected / expected.max(), atol=1e-4)


def test_the_rewired_network_finds_what_integrated_gradients_find():
    """One layer that is not linear: there deep SHAP is the gradient averaged along the line, here by brute force."""
    torch.manual_seed(0)
    model = BreastClassifier(Chain(8, nn.Conv2d(1, 8, 8, 8), nn.GroupNorm(2, 8)), "average", 4.0, 0.0, 0).eval()
    with torch.no_grad():
        model.backbone.layers[1].weight.copy_(torch.linspace(0.5, 2.0, 8))
    images, background = views(1, 1), views(1, 2)
    total = torch.zeros_like(images)
    for step in range(500):
        point = (background + (step + 0.5) / 500 * (images - background)).requires_grad_()
        total += torch.autograd.grad(model(point).sum(), point)[0] / 500
    expected = (total * (images - background))[:, 0].numpy()
    found = deep_shap(model, images, background).maps
    np.testing.assert_allclose(found / expected.max(), expected / expected.max(), atol=1e-3)


@pytest.mark.parametrize("explain", [deep_shap, expected_gradients])
def test_of_a_linear_model_every_pixel_gets_its_weight_times_its_difference(explain):
    torch.manual_seed(0)
    model = BreastClassifier(Chain(4, nn.Conv2d(1, 4, 8, 8)), "average", 4.0, 0.0, 0).eval()
    images, background = views(2, 1), views(3, 2)
    point = images.clone().requires_grad_()
    weights = torch.autograd.grad(model(point).sum(), point)[0]
    expected = (weights * (images - background.mean(0)))[:, 0].numpy()
    found = explain(model, images, background)
    np.testing.assert_allclose(found.maps, expected, atol=1e-5 * np.abs(expected).max())
    assert found.gap.max() < 1e-4


def test_expected_gradients_say_how_far_they_are_off():
    model = classifier(pooling="lse")
    images, background = views(2, 1), views(3, 2, air=True)
    found = expected_gradients(model, images, background)
    sums = found.maps.astype(np.float64).sum(axis=(1, 2))
    with torch.no_grad():
        scale = (model(images)[:, None] - model(background)).abs().mean(dim=1).numpy()
    missing = np.abs(sums - differences(model, images, background)) / scale
    assert missing.min() > 1e-4, "an estimate is never exact"
    np.testing.assert_allclose(found.gap, missing, rtol=1e-2)


@pytest.mark.parametrize("explain", [deep_shap, expected_gradients])
@pytest.mark.parametrize("pooling", ["average", "lse"])
def test_air_is_never_an_explanation_and_a_blank_view_has_an_empty_map(explain, pooling):
    model = classifier(pooling=pooling)
    images = torch.cat([views(2, 1, air=True), torch.full((1, 1, 64, 48), -3.0)])
    found = explain(model, images, views(3, 2, air=True)).maps
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.all(found[images[:, 0].numpy() == -3.0] == 0.0)
    assert np.abs(found[:2]).max() > 0.0


@pytest.mark.parametrize("explain", [deep_shap, expected_gradients])
def test_a_view_compared_with_itself_has_nothing_to_explain(explain):
    images = views(1, 1, air=True)
    found = explain(classifier(pooling="lse"), images, images)
    assert np.all(found.maps == 0.0)
    assert found.gap.max() < 1e-3


@pytest.mark.parametrize("explain", [deep_shap, expected_gradients])
def test_neither_company_nor_the_size_of_batches_changes_a_map(explain, monkeypatch):
    model = classifier(norm="group", pooling="lse")
    images, background = views(2, 1, air=True), views(5, 2, air=True)
    together = explain(model, images, background).maps
    monkeypatch.setattr(maps, "PIXELS_AT_ONCE", 4 * 64 * 48)
    for index in range(2):
        alone = explain(model, images[index : index + 1], background).maps[0]
        np.testing.assert_allclose(alone, together[index], atol=1e-4 * np.abs(together).max())


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.MaxPool2d(2, ceil_mode=True), "MaxPool2d"),
        (nn.LocalResponseNorm(2), "LocalResponseNorm"),
        (nn.Softmax(dim=1), "Softmax"),
    ],
)
def test_a_network_with_a_layer_that_has_no_exact_rule_is_refused_by_name(layer, named):
    model = BreastClassifier(Chain(4, nn.Conv2d(1, 4, 8, 8), layer), "average", 4.0, 0.0, 0)
    with pytest.raises(ExplainerError, match=f"no exact rule for {named}"):
        deep_shap(model, views(1, 1), views(2, 2))
    assert expected_gradients(model, views(1, 1), views(2, 2)).maps.shape == (1, 64, 48)


def test_an_operation_that_is_no_layer_is_refused_too():
    class Squared(nn.Module):
        def forward(self, images):
            return torch.square(images)

    model = BreastClassifier(Chain(4, nn.Conv2d(1, 4, 8, 8), Squared()), "average", 4.0, 0.0, 0)
    with pytest.raises(ExplainerError, match="no exact rule for square"):
        deep_shap(model, views(1, 1), views(2, 2))


def test_values_that_do_not_add_up_are_refused():
    """A layer that lies: it calls itself linear and is not."""

    class Bent(nn.Identity):
        def forward(self, images):
            return images**3

    model = BreastClassifier(Chain(4, nn.Conv2d(1, 4, 8, 8), Bent()), "average", 4.0, 0.0, 0)
    with pytest.raises(ExplainerError, match="do not add up"):
        deep_shap(model, views(1, 1), views(2, 2))


def test_values_that_are_no_numbers_are_refused():
    model = classifier()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(ExplainerError, match="do not add up"):
        deep_shap(model, views(1, 1), views(2, 2))


@pytest.mark.parametrize("explain", [deep_shap, expected_gradients])
def test_without_a_background_there_is_nothing_to_compare_with(explain):
    with pytest.raises(ExplainerError, match="no background"):
        explain(classifier(), views(1, 1), torch.empty(0, 1, 1, 1))
