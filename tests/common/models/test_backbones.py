"""Backbones by name: shapes, strides of the stages, torchvision's parameter names, group norm."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from common.configuration import ModelConfig
from common.errors import ConfigurationError
from common.models.backbones import BACKBONES, build_backbone
from common.models.classifier import build_classifier
from common.models.normalisation import to_group_norm

TORCHVISION = ["resnet18", "resnet50", "densenet121", "efficientnet_b0", "convnext_tiny"]


def build(name):
    if name == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_backbone(name).eval()


@pytest.mark.parametrize("name", list(BACKBONES))
def test_features_and_stages_have_the_stated_sizes(name):
    backbone = build(name)
    sizes = {}
    for stage in backbone.stages:
        last = backbone.get_submodule(stage.modules[-1])
        last.register_forward_hook(lambda module, inputs, output, key=stage.name: sizes.update({key: output.shape}))
    with torch.no_grad():
        features = backbone(torch.zeros(2, 1, 64, 96))
    coarsest = backbone.stages[-1].stride
    assert coarsest == (16 if name == "resnet8" else 32)
    assert features.shape == (2, backbone.channels, 64 // coarsest, 96 // coarsest)
    # Strides count the pooling after a stem, which comes after the stem's last module.
    for stage in backbone.stages[1:]:
        assert sizes[stage.name][2:] == (64 // stage.stride, 96 // stage.stride), stage.name
    assert [stage.stride for stage in backbone.stages] == sorted(stage.stride for stage in backbone.stages)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_parameter_belongs_to_exactly_one_stage(name):
    backbone = build(name)
    prefixes = [f"{module}." for stage in backbone.stages for module in stage.modules]
    for parameter, _ in backbone.named_parameters():
        assert sum(parameter.startswith(prefix) for prefix in prefixes) == 1, parameter


@pytest.mark.parametrize("name", list(BACKBONES))
def test_cells_are_centred_where_the_stages_say(name):
    """Against the centre of gravity of what one cell sees: its squared gradient, over random weights."""
    size, seeds = 256, 16 if name == "resnet8" else 4  # few channels need more draws
    seen = {stage.name: torch.zeros(size, size) for stage in build(name).stages[1:]}
    for seed in range(seeds):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = build_backbone(name).eval()
            outputs = {}
            for stage in backbone.stages[1:]:
                last = backbone.get_submodule(stage.modules[-1])
                last.register_forward_hook(lambda _, inputs, out, key=stage.name, to=outputs: to.update({key: out}))
            image = torch.randn(1, 1, size, size, requires_grad=True)
            backbone(image)
            for key, output in outputs.items():
                cell = output[0, :, output.shape[2] // 2, output.shape[3] // 2]
                (gradient,) = torch.autograd.grad((cell * torch.randn_like(cell)).sum(), image, retain_graph=True)
                seen[key] += gradient[0, 0] ** 2 / (gradient**2).sum()
    for stage in backbone.stages[1:]:
        expected = stage.centre + size // stage.stride // 2 * stage.stride
        for axis in (0, 1):
            centre = (seen[stage.name].sum(1 - axis) * torch.arange(size)).sum() / seeds
            assert centre == pytest.approx(expected, abs=stage.stride / 10), (stage.name, axis)


@pytest.mark.parametrize("name", TORCHVISION)
def test_features_are_torchvisions_for_a_grey_image(name):
    backbone = build(name)
    network = getattr(torchvision.models, name)().eval()
    state = network.state_dict()
    ours = backbone.state_dict()
    first = next(key for key, value in state.items() if value.ndim == 4)
    assert set(ours) <= set(state)
    backbone.load_state_dict({key: state[key].sum(1, keepdim=True) if key == first else state[key] for key in ours})
    image = torch.randn(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    captured = {}
    head = network.classifier if name == "densenet121" else network.avgpool
    head.register_forward_pre_hook(lambda module, inputs: captured.update(features=inputs[0]))
    with torch.no_grad():
        network(image.repeat(1, 3, 1, 1))
        found = backbone(image)
    expected = captured["features"]
    found = found.mean(dim=(2, 3)) if expected.ndim == 2 else found
    # Random weights shrink the features of some networks to 1e-16.
    scale = expected.abs().max()
    assert scale > 0.0
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-4, rtol=1e-4)


def test_resnet8_is_a_torchvision_resnet_of_three_layers_half_as_wide():
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    network.conv1, network.bn1, network.inplanes = nn.Conv2d(1, 32, 7, 2, 3, bias=False), nn.BatchNorm2d(32), 32
    for index, channels in enumerate((32, 64, 128), 1):
        setattr(network, f"layer{index}", network._make_layer(BasicBlock, channels, 1, stride=1 if index == 1 else 2))
    backbone = build("resnet8")
    network.layer4 = network.fc = nn.Identity()
    network.load_state_dict(backbone.state_dict())
    image = torch.randn(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    captured = {}
    network.layer3.register_forward_hook(lambda module, inputs, output: captured.update(layer3=output))
    with torch.no_grad():
        network.eval()(image)
        torch.testing.assert_close(backbone(image), captured["layer3"])
    for name, weight in backbone.named_parameters():
        if weight.ndim == 4:  # He et al. 2015: variance 2 / fan out
            fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
            assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), name


def test_group_norm_replaces_every_batch_norm_and_keeps_the_names():
    backbone = build("resnet10")
    names = {key for key, _ in backbone.named_parameters()}
    to_group_norm(backbone)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert {key for key, _ in backbone.named_parameters()} == names
    assert backbone.bn1.num_groups == 32


def test_group_norm_divides_any_number_of_channels():
    stack = nn.Sequential(nn.BatchNorm2d(24), nn.Sequential(nn.BatchNorm2d(7)), nn.BatchNorm2d(96))
    to_group_norm(stack)
    assert (stack[0].num_groups, stack[1][0].num_groups, stack[2].num_groups) == (8, 1, 32)
    stack[0](torch.randn(2, 24, 3, 3))


@pytest.mark.parametrize("name", ["resnet10", "densenet121", "efficientnet_b0"])
def test_with_group_norm_a_view_does_not_see_its_batch(name):
    model = build_classifier(ModelConfig(backbone=name, norm="group"), 0).train()
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.eval()
    images = torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(images)[:1], model(images[:1]), atol=1e-5, rtol=1e-4)


def test_a_misspelt_backbone_gets_a_guess():
    with pytest.raises(ConfigurationError, match="did you mean 'resnet18'"):
        build_backbone("resnt18")


def test_an_absent_extra_is_named(monkeypatch):
    monkeypatch.setattr("common.models.backbones.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'xai-federation\[pretrained\]'"):
        build_backbone("efficientnet_lite0")
