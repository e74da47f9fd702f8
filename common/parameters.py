"""Arithmetic on the tensors that sites share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.packing import Tensors

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def shared(state: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors that are averaged: every floating-point one. Integer counters are not."""
    return {name: value for name, value in state.items() if value.is_floating_point()}


def difference(after: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]) -> Tensors:
    """The update ``after - before`` of every shared tensor, float32."""
    return {name: (after[name].detach().float() - before[name].detach().float()) for name in sorted(shared(before))}


def rounded(update: Mapping[str, torch.Tensor], dtype: str) -> Tensors:
    """The update in the dtype that travels (``bfloat16`` or ``float32``)."""
    target = {"bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
    return {name: value.to(target) for name, value in update.items()}


def squared_norm(update: Mapping[str, torch.Tensor]) -> float:
    """Squared L2 norm over all tensors, summed in float64."""
    return float(sum(value.double().pow(2).sum() for value in update.values()))


def local_names(model: nn.Module, shared_parameters: str) -> frozenset[str]:
    """Names of the tensors that every site keeps for itself.

    They travel all the same: the server keeps a plain mean of them, for sites that have none of their own
    (newcomers, sites that only test, whoever gets the published model).

    Args:
        model: the run's network.
        shared_parameters: ``all`` (nothing stays); ``norm_statistics_local``: running mean and variance of every
            batch norm (SiloBN, Andreux et al. 2020, arXiv 2008.07424, section 3); ``norm_local``: its scale and offset
            too (FedBN, Li et al. 2021, arXiv 2102.07623, algorithm 1); ``backbone``: everything outside the backbone
            (FedPer, Arivazhagan et al. 2019, arXiv 1912.00818, algorithm 1; a detector's pyramid and towers are its
            personal layers).

    Raises:
        ValueError: unknown choice, or a network without the batch norms that were to be kept.
    """
    match shared_parameters:
        case "all":
            return frozenset()
        case "backbone":
            return frozenset(name for name in model.state_dict() if not name.startswith("backbone."))
        case "norm_statistics_local" | "norm_local":
            kept = [
                f"{prefix}.{name}"
                for prefix, module in model.named_modules()
                if isinstance(module, _BatchNorm)
                for name in module.state_dict()
                if shared_parameters == "norm_local" or name in _STATISTICS
            ]
            if not kept:
                raise ValueError("the network has no batch norm")
            return frozenset(kept)
    raise ValueError(f"unknown choice of shared parameters '{shared_parameters}'")


def trained_names(model: nn.Module, shared_parameters: str) -> frozenset[str]:
    """Parameters proper that all sites have in common: what server optimisers move and control variates correct."""
    local = local_names(model, shared_parameters)
    return frozenset(name for name, value in model.named_parameters() if value.requires_grad and name not in local)
