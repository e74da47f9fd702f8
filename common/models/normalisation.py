"""Exchanges batch normalisation for group normalisation."""

from __future__ import annotations

from math import gcd

from torch import nn

GROUPS = 32


def to_group_norm(module: nn.Module) -> None:
    """Replace every BatchNorm2d inside ``module`` by GroupNorm of up to 32 groups, in place.

    Source: Wu & He 2018, "Group Normalization" (32 groups; here the largest divisor of 32 that
    also divides the channels). Other norms (ConvNeXt's LayerNorm) stay.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(gcd(GROUPS, child.num_features), child.num_features, eps=1e-5))
        else:
            to_group_norm(child)
