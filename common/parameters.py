"""Arithmetic on the tensors that sites share."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from common.packing import Tensors


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
