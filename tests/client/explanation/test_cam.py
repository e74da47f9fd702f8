"""The CAM family where the answer is known, and against each formula written out."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate, pad

from client.explanation.cam import CAMS, cam, target_stage
from common.configuration import ModelConfig
from common.models.backbones import BACKBONES, Backbone, Stage
from common.models.classifier import BreastClassifier, build_classifier

MANY_FORWARD_PASSES = {"scorecam", "ablationcam"}


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


def hirescam(model, images):
    return cam("hirescam", model, images)


def views(number=2, seed=0, size=(64, 48)):
    noise = torch.randn(number, 1, *size, generator=torch.Generator().manual_seed(seed))
    return noise.clamp(min=-2.5)  # tissue everywhere: -3 is air


@pytest.mark.parametrize("pooling", ["average", "lse"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (5, 7)])
def test_the_map_is_highest_at_the_patch_the_logit_depends_on(pooling, row, column):
    cell = 8
    view = torch.zeros(1, 1, 64, 96)
    view[0, 0, cell * row : cell * row + cell, cell * column : cell * column + cell] = 3.0
    found = hirescam(patch_classifier([1.0, 0.0], pooling), view)[0]
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
    found = hirescam(classifier(pooling=pooling), images)
    assert np.all(found[:, :, 24:] == 0.0)
    assert found[:, :, :24].max() > 0.0


def test_values_are_those_of_the_paper_not_scaled():
    # The logit is the mean of 8 × 12 cells of 8 × 8 pixels: each cell's gradient is 1/96.
    view = torch.zeros(2, 1, 64, 96)
    view[0, 0, 16:32, 32:48], view[1, 0, 16:32, 32:48] = 3.0, 6.0
    found = hirescam(patch_classifier([1.0, 0.0]), view)
    assert found[:, 24, 40] == pytest.approx([3.0 / 96, 6.0 / 96], rel=1e-5)


def test_what_speaks_against_malignancy_is_not_shown():
    view = torch.zeros(1, 1, 64, 96)
    view[0, 0, 16:32, 32:48] = 3.0
    assert np.all(hirescam(patch_classifier([-1.0, 0.0]), view) == 0.0)
    assert np.all(hirescam(patch_classifier([0.0, 1.0]), view) == 0.0)


@pytest.mark.parametrize("pooling", ["average", "lse"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet10_equals_grad_cam_by_hand(pooling, norm):
    model, images = classifier(pooling=pooling, norm=norm), views(3)
    model.train()
    model(views(8, seed=5))  # statistics that are not the initial ones
    found = hirescam(model, images)
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
    together = hirescam(model, images)
    alone = np.concatenate([hirescam(model, images[index : index + 1]) for index in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6 + 1e-4 * together.max())


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_every_backbone_gives_maps_at_stride_8(backbone):
    if backbone == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    model = classifier(backbone=backbone, norm="group")
    sizes = []
    layer = model.backbone.get_submodule(target_stage(model).modules[-1])
    handle = layer.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[2:]))
    for name in set(CAMS) - MANY_FORWARD_PASSES:
        found = cam(name, model, views())
        assert (found.shape, found.dtype) == ((2, 64, 48), np.float32)
        assert np.isfinite(found).all(), name
        assert found.min() >= 0.0
    handle.remove()
    assert set(sizes) == {(8, 6)}


def test_freezing_does_not_change_the_map():
    whole, frozen = (hirescam(classifier(norm="group", frozen_stages=number), views()) for number in (0, 5))
    assert whole.max() > 0.0
    np.testing.assert_array_equal(whole, frozen)


def cells_and_gradients(model, images):
    """Activations and gradients at stride 8 of a resnet8, and the logits, by hand; float64 (N, C, h, w)."""
    layers = model.backbone
    activations = layers.layer2(layers.layer1(layers.maxpool(layers.relu(layers.bn1(layers.conv1(images))))))
    activations.retain_grad()
    from_cells(model, activations).sum().backward()
    return activations.detach().double().numpy(), activations.grad.double().numpy()


def from_cells(model, activations):
    local = model.head(model.backbone.layer3(activations).permute(0, 2, 3, 1))[..., 0].flatten(1)
    return (4.0 * local).exp().mean(dim=1).log() / 4.0


def enlarged(coarse, size=(64, 48)):
    """Cells are centred on every 8th pixel from 0 on."""
    inner = interpolate(torch.as_tensor(coarse), size=(size[0] - 7, size[1] - 7), mode="bilinear", align_corners=True)
    return pad(inner, (0, 7, 0, 7), mode="replicate").numpy()


def by_hand(name, model, images):
    """Each formula as its paper writes it; (N, h, w) before the rectifier."""
    a, g = cells_and_gradients(model, images)
    match name:
        case "gradcam":
            return np.einsum("nc,nchw->nhw", g.mean(axis=(2, 3)), a)
        case "gradcam++":
            alpha = np.where(g == 0, 0, 1 / (2 + a.sum(axis=(2, 3), keepdims=True) * g))
            return np.einsum("nc,nchw->nhw", (alpha * np.maximum(g, 0)).sum(axis=(2, 3)), a)
        case "hirescam":
            return (g * a).sum(axis=1)
        case "layercam":
            return (np.maximum(g, 0) * a).sum(axis=1)
        case "eigencam":
            maps = []
            for view in a:
                centred = (view - view.mean(axis=(1, 2), keepdims=True)).reshape(len(view), -1)
                component = (np.linalg.svd(centred)[0][:, 0] @ centred).reshape(view.shape[1:])
                maps.append(component if component.max() > -component.min() else -component)
            return np.stack(maps)
        case "ablationcam":
            maps = []
            with torch.no_grad():
                for view in torch.from_numpy(a).float():
                    falls = []
                    for channel in range(len(view)):
                        without = view.clone()
                        without[channel] = 0.0
                        falls.append(float(from_cells(model, view[None]) - from_cells(model, without[None])))
                    maps.append(np.einsum("c,chw->hw", falls, view.numpy()))
            return np.stack(maps)
        case "scorecam":
            maps = []
            with torch.no_grad():
                for view, image in zip(a, images, strict=True):
                    scores = []
                    for channel in enlarged(view[None])[0]:
                        span = max(channel.max() - channel.min(), 1e-30)
                        scores.append(float(model(image[None] * ((channel - channel.min()) / span).astype(np.float32))))
                    weights = np.exp(scores) / np.exp(scores).sum()
                    maps.append(np.einsum("c,chw->hw", weights, view))
            return np.stack(maps)
    raise ValueError(name)


@pytest.mark.parametrize("name", list(CAMS))
def test_every_method_is_its_papers_formula(name):
    model = classifier(backbone="resnet8", pooling="lse").train()
    model(views(8, seed=5))
    model.eval()
    images = views(2)
    expected = enlarged(np.maximum(by_hand(name, model, images), 0.0)[:, None])[:, 0]
    assert expected.max() > 0.0, "a case that tests something"
    assert expected.min(axis=(1, 2)).max() < expected.max(), "and is not flat"
    np.testing.assert_allclose(cam(name, model, images) / expected.max(), expected / expected.max(), atol=1e-3)


def test_grad_cam_is_not_hirescam():
    model, images = classifier(backbone="resnet8", pooling="lse"), views(2)
    mean, own = (cam(name, model, images) for name in ("gradcam", "hirescam"))
    assert np.abs(mean / mean.max() - own / own.max()).max() > 0.05


def test_tiny_gradients_do_not_change_grad_cam_plus_plus():
    """The package adds 1e-6 to squared gradients; a head a thousand times flatter must give the same picture."""
    model, images = classifier(backbone="resnet8"), views(2)
    found = cam("gradcam++", model, images)
    with torch.no_grad():
        model.head.weight *= 1e-3
    flatter = cam("gradcam++", model, images)
    assert found.max() > 0.0
    assert np.corrcoef(found.ravel(), flatter.ravel())[0, 1] > 0.95
    assert flatter.max() / found.max() == pytest.approx(1e-3, rel=0.2)


def test_score_cam_leaves_air_alone():
    """Masking the prepared picture would lift air above its value, and the classifier would take it for tissue."""
    images = views(1)
    images[:, :, :, 24:] = -3.0
    model = classifier(backbone="resnet8", pooling="lse")
    seen = []
    handle = model.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    cam("scorecam", model, images)
    handle.remove()
    masked = torch.cat(seen[1:])
    assert len(masked) == 64
    assert torch.all(masked[:, :, :, 24:] == 0.0)


def test_ablation_cam_does_not_turn_round_with_the_sign_of_the_logit():
    model, images = classifier(backbone="resnet8"), views(2)
    with torch.no_grad():
        model.head.bias.fill_(50.0)
        above = cam("ablationcam", model, images)
        model.head.bias.fill_(-50.0)
        below = cam("ablationcam", model, images)
    assert above.max() > 0.0
    np.testing.assert_allclose(above, below, atol=1e-3 * above.max() + 2e-5)


@pytest.mark.parametrize("name", list(CAMS))
def test_where_nothing_speaks_for_malignancy_the_map_is_empty(name):
    model = classifier(backbone="resnet8")
    with torch.no_grad():
        model.head.weight.zero_()
    blank = torch.full((1, 1, 64, 48), -3.0)
    assert np.all(cam(name, model, blank) == 0.0)
    if name not in ("eigencam", "scorecam"):  # these two do not ask what speaks for malignancy
        assert np.all(cam(name, model, views()) == 0.0)
    dead = classifier(backbone="resnet8")
    with torch.no_grad():
        for parameter in dead.backbone.layer2.parameters():
            parameter.zero_()
        dead.backbone.layer2[0].bn2.bias.fill_(-1.0)
        dead.backbone.layer2[0].downsample[1].bias.fill_(-1.0)
    assert np.all(cam(name, dead, views()) == 0.0), "a layer without activity gives nothing, not NaN"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MANY_FORWARD_PASSES))
@pytest.mark.parametrize("backbone", ["resnet8", "convnext_tiny", "efficientnet_lite0"])  # a pass a channel: long
def test_every_backbone_can_be_explained_channel_by_channel(backbone, name):
    if backbone == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    found = cam(name, classifier(backbone=backbone, norm="group"), views(1))
    assert np.isfinite(found).all()
    assert found.min() >= 0.0
