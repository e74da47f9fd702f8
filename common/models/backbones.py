"""Feature extractors by name: torchvision's, and EfficientNet-lite0 of the extra ``pretrained``.

Each takes grey images ``(N, 1, H, W)`` and gives features ``(N, channels, h, w)``. Parameter names
are those of the library it comes from, so that its weight files fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet, conv1x1

from common.configuration.naming import nearest
from common.errors import ConfigurationError


@dataclass(frozen=True)
class Stage:
    """A named stretch of a backbone.

    ``modules`` are qualified names inside the backbone; the last one's output is the stage's.
    """

    name: str
    modules: tuple[str, ...]
    stride: int
    """Input pixels per cell of the output."""
    centre: float = 0.0
    """Input pixel that cell (0, 0) is centred on, in rows and columns: 0 where every convolution pads evenly
    (Araujo et al. 2019, "Computing receptive fields of convolutional neural networks", equation 8)."""


class Backbone(nn.Module):
    """Base of the feature extractors: channels of the output and stages from the stem on."""

    channels: int
    stages: tuple[Stage, ...]


class ResNetBackbone(Backbone):
    """A torchvision ResNet before pooling: stem and ``layers``, the first at stride 4, each further one halves."""

    def __init__(self, conv1: nn.Conv2d, bn1: nn.Module, layers: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = conv1, bn1, nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self._layers = tuple(f"layer{index}" for index in range(1, len(layers) + 1))
        for name, layer in zip(self._layers, layers, strict=True):
            self.add_module(name, layer)
        self.channels = channels
        self.stages = (
            Stage("stem", ("conv1", "bn1"), 4),
            *(Stage(name, (name,), 4 << index) for index, name in enumerate(self._layers)),
        )

    @property
    def level_channels(self) -> list[int]:
        """Channels of the layers' outputs, finest first."""
        last = [[part for part in self.get_submodule(name).modules() if isinstance(part, nn.Conv2d)][-1]
                for name in self._layers]  # fmt: skip
        return [convolution.out_channels for convolution in last]

    def levels(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of the layers, finest first: ``(N, level_channels[i], H/4, W/4)``, H/8, ..."""
        out, found = self.maxpool(self.relu(self.bn1(self.conv1(images)))), []
        for name in self._layers:
            out = self.get_submodule(name)(out)
            found.append(out)
        return found

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``(N, channels, H/32, W/32)``; H/16, W/16 of three layers."""
        return self.levels(images)[-1]


class SequentialBackbone(Backbone):
    """The ``features`` of a torchvision DenseNet, EfficientNet or ConvNeXt."""

    def __init__(self, features: nn.Sequential, channels: int, stages: tuple[Stage, ...], last: nn.Module) -> None:
        super().__init__()
        self.features, self.last = features, last
        self.channels, self.stages = channels, stages

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``(N, channels, H/32, W/32)``."""
        features: torch.Tensor = self.last(self.features(images))
        return features


class LiteBackbone(Backbone):
    """EfficientNet-lite0 without pooling and head."""

    _conv_stem: nn.Module
    _bn0: nn.Module
    _blocks: nn.ModuleList
    _conv_head: nn.Module
    _bn1: nn.Module

    def __init__(self, network: Any) -> None:
        super().__init__()
        self._conv_stem, self._bn0, self._blocks = network._conv_stem, network._bn0, network._blocks
        self._conv_head, self._bn1 = network._conv_head, network._bn1
        self.activation = nn.ReLU6()
        self.channels = 1280
        blocks = (
            ("blocks0-0", 0, 1, 2),
            ("blocks1-2", 1, 3, 4),
            ("blocks3-4", 3, 5, 8),
            ("blocks5-10", 5, 11, 16),
            ("blocks11-15", 11, 16, 32),
        )
        # The package pads strided convolutions at the right and bottom only, as TensorFlow does.
        self.stages = (
            Stage("stem", ("_conv_stem", "_bn0"), 2, 1.0),
            *(
                Stage(name, tuple(f"_blocks.{index}" for index in range(first, end)), stride, stride - 1.0)
                for name, first, end, stride in blocks
            ),
            Stage("head", ("_conv_head", "_bn1"), 32, 31.0),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``(N, 1280, H/32, W/32)``."""
        out = self.activation(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            out = block(out)
        features: torch.Tensor = self.activation(self._bn1(self._conv_head(out)))
        return features


def _grey(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same convolution for one channel, freshly initialised."""
    grey = nn.Conv2d(
        1,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        bias=convolution.bias is not None,
    )
    nn.init.kaiming_normal_(grey.weight, mode="fan_out", nonlinearity="relu")
    return grey


def _resnet(build: Callable[[], ResNet]) -> Callable[[], Backbone]:
    def make() -> Backbone:
        network = build()
        layers = (network.layer1, network.layer2, network.layer3, network.layer4)
        return ResNetBackbone(_grey(network.conv1), network.bn1, layers, network.fc.in_features)

    return make


def _resnet8() -> Backbone:
    """Three single blocks of 32, 64 and 128 channels: from scratch on a few hundred exams, quick on a CPU."""
    narrow = BasicBlock(32, 32)
    middle = BasicBlock(32, 64, stride=2, downsample=nn.Sequential(conv1x1(32, 64, 2), nn.BatchNorm2d(64)))
    wide = BasicBlock(64, 128, stride=2, downsample=nn.Sequential(conv1x1(64, 128, 2), nn.BatchNorm2d(128)))
    for module in (*narrow.modules(), *middle.modules(), *wide.modules()):
        if isinstance(module, nn.Conv2d):  # as torchvision initialises a whole ResNet
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    stem = _grey(nn.Conv2d(1, 32, 7, stride=2, padding=3, bias=False))
    return ResNetBackbone(stem, nn.BatchNorm2d(32), [nn.Sequential(block) for block in (narrow, middle, wide)], 128)


def _densenet121() -> Backbone:
    features = torchvision.models.densenet121().features
    features.conv0 = _grey(features.conv0)
    # Transitions average 2 × 2 cells without padding: the centre moves by half a cell.
    blocks = (
        ("stem", ("conv0", "norm0"), 4, 0.0),
        ("denseblock1", ("denseblock1",), 4, 0.0),
        ("denseblock2", ("transition1", "denseblock2"), 8, 2.0),
        ("denseblock3", ("transition2", "denseblock3"), 16, 6.0),
        ("denseblock4", ("transition3", "denseblock4", "norm5"), 32, 14.0),
    )
    stages = tuple(
        Stage(name, tuple(f"features.{part}" for part in parts), stride, centre)
        for name, parts, stride, centre in blocks
    )
    return SequentialBackbone(features, 1024, stages, nn.ReLU())


def _numbered(
    features: nn.Sequential, channels: int, groups: tuple[tuple[tuple[int, ...], int, float], ...]
) -> Backbone:
    stages = tuple(
        Stage(f"stage{position}" if position else "stem", tuple(f"features.{i}" for i in indices), stride, centre)
        for position, (indices, stride, centre) in enumerate(groups)
    )
    return SequentialBackbone(features, channels, stages, nn.Identity())


def _efficientnet_b0() -> Backbone:
    features = torchvision.models.efficientnet_b0().features
    features[0][0] = _grey(features[0][0])
    groups = (
        ((0,), 2, 0.0),
        ((1,), 2, 0.0),
        ((2,), 4, 0.0),
        ((3,), 8, 0.0),
        ((4, 5), 16, 0.0),
        ((6, 7, 8), 32, 0.0),
    )
    return _numbered(features, 1280, groups)


def _convnext_tiny() -> Backbone:
    features = torchvision.models.convnext_tiny().features
    features[0][0] = _grey(features[0][0])
    # Convolutions of stride 4 and 2 without overlap or padding: cells are squares side by side.
    groups = (((0,), 4, 1.5), ((1,), 4, 1.5), ((2, 3), 8, 3.5), ((4, 5), 16, 7.5), ((6, 7), 32, 15.5))
    return _numbered(features, 768, groups)


def _efficientnet_lite0() -> Backbone:
    if find_spec("efficientnet_lite_pytorch") is None:
        raise ConfigurationError(
            "backbone efficientnet_lite0 is not installed",
            where="model.backbone",
            do="pip install 'xai-federation[pretrained]'",
        )
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", in_channels=1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # the package's 0.01 is for ImageNet's many steps, a round here has dozens
    return LiteBackbone(network)


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet8": _resnet8,
    "resnet10": _resnet(lambda: ResNet(BasicBlock, [1, 1, 1, 1])),
    "resnet18": _resnet(torchvision.models.resnet18),
    "resnet50": _resnet(torchvision.models.resnet50),
    "densenet121": _densenet121,
    "efficientnet_b0": _efficientnet_b0,
    "convnext_tiny": _convnext_tiny,
    "efficientnet_lite0": _efficientnet_lite0,
}


def build_backbone(name: str) -> Backbone:
    """Make a freshly initialised backbone (from torch's global generator).

    Raises:
        ConfigurationError: no backbone of that name, or its package is not installed.
    """
    if name not in BACKBONES:
        guess = nearest(name, list(BACKBONES))
        raise ConfigurationError(
            f"there is no backbone '{name}'",
            where="model.backbone",
            do=(f"did you mean '{guess}'? " if guess else "") + f"known: {', '.join(BACKBONES)}",
        )
    return BACKBONES[name]()


def freeze(backbone: Backbone, stages: int) -> list[nn.Module]:
    """Stop the first stages from learning; returns their modules, whose statistics the caller must hold too.

    Raises:
        ConfigurationError: more stages than there are.
    """
    if stages > len(backbone.stages):
        raise ConfigurationError(
            f"the backbone has {len(backbone.stages)} stages, {stages} cannot be frozen",
            where="model.frozen_stages",
            do=f"choose 0 to {len(backbone.stages)}",
        )
    frozen = [backbone.get_submodule(name) for stage in backbone.stages[:stages] for name in stage.modules]
    for module in frozen:
        module.requires_grad_(False)
    return frozen
