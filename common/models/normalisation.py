"""Batch normalisation in a federation: exchanged for group normalisation, or held at the global statistics."""

from __future__ import annotations

from math import gcd

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.errors import MixedPatientsError

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


def fix_statistics(module: nn.Module) -> None:
    """Let every BatchNorm2d inside ``module`` normalise by its running statistics and leave them as they are.

    A site then trains the function that is tested: with batch statistics each site adapts to its own
    pictures' mean and variance, which the averaged model no longer has. Scale and offset go on learning.
    Lasts until the next ``module.train()``.

    Source: Zhong et al. 2023, "Making Batch Normalization Great in Federated Deep Learning"
    (FixBN, arXiv 2303.06530), section 5: batch statistics first, fixed global ones after.
    """
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()


def require_separate(model: nn.Module) -> None:
    """Refuse a network that lets the images of a batch change each other's results.

    Frozen stages may have batch normalisation: it keeps its statistics there, and normalises every image by itself.

    Args:
        model: in training mode, as it will be trained.

    Raises:
        MixedPatientsError: a batch normalisation learns; its first one is named.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.training:
            raise MixedPatientsError(
                "batch normalisation mixes patients, so what one of them adds to an update has no bound",
                where=f"model.norm (first at {name})",
                do="set model.norm=group",
            )
