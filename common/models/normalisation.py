"""Batch normalisation in a federation: exchanged for group normalisation, held at the global statistics, or fitted."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

import torch
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


def has_batch_norm(module: nn.Module) -> bool:
    """Whether there is any BatchNorm2d inside ``module``."""
    return any(isinstance(child, nn.BatchNorm2d) for child in module.modules())


def fit_statistics(module: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Let every BatchNorm2d inside ``module`` normalise by statistics of the given images; nothing else changes.

    Mean and variance of a layer become the means over the batches of the batches' own, so batches should be of one
    size. While a batch goes through, each layer normalises by that batch. Dropout is off.

    Source: Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation" (AdaBN),
    arXiv 1603.04779, algorithm 1.

    Args:
        module: left in evaluation mode.
        batches: images ``(N, 1, H, W)`` on the module's device.

    Raises:
        ValueError: there is no batch.
    """
    module.eval()
    norms = [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    seen = 0
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a plain mean over batches
            norm.train()
        with torch.no_grad():
            for images in batches:
                module(images)
                seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        module.eval()
    if not seen:
        raise ValueError("there are no images to take statistics of")
