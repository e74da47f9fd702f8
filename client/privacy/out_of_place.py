"""Networks that overwrite nothing for a while: Opacus' hooks cannot watch what is changed in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models.efficientnet import MBConv
from torchvision.models.resnet import BasicBlock, Bottleneck


def _residual(block: nn.Module, convolutions: int, images: torch.Tensor) -> torch.Tensor:
    """torchvision's residual block with so many convolutions, all but the last activated before the sum."""
    out = images
    for number in range(1, convolutions + 1):
        out = block.get_submodule(f"bn{number}")(block.get_submodule(f"conv{number}")(out))
        out = block.get_submodule("relu")(out) if number < convolutions else out
    shortcut = block.get_submodule("downsample")(images) if getattr(block, "downsample", None) else images
    activated: torch.Tensor = block.get_submodule("relu")(out + shortcut)
    return activated


def _inverted_residual(block: Any, images: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = block.block(images)
    return block.stochastic_depth(out) + images if block.use_res_connect else out


FORWARDS: dict[type[nn.Module], Callable[..., torch.Tensor]] = {
    BasicBlock: lambda block, images: _residual(block, 2, images),
    Bottleneck: lambda block, images: _residual(block, 3, images),
    MBConv: _inverted_residual,
}
"""Blocks that add in place, and how they compute the same without."""


@contextmanager
def out_of_place(model: nn.Module) -> Iterator[None]:
    """Let the modules inside ``model`` give what they give, bit by bit, without overwriting their inputs; at the end
    they are as they were."""
    overwriting = [module for module in model.modules() if getattr(module, "inplace", False) is True]
    blocks = [module for module in model.modules() if type(module) in FORWARDS]
    for module in overwriting:
        setattr(module, "inplace", False)  # noqa: B010
    for block in blocks:
        setattr(block, "forward", partial(FORWARDS[type(block)], block))  # noqa: B010
    try:
        yield
    finally:
        for module in overwriting:
            setattr(module, "inplace", True)  # noqa: B010
        for block in blocks:
            delattr(block, "forward")
