"""Weighted mean of updates, folded in one by one: memory does not grow with the number of sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from common.packing import Tensors


@dataclass
class RunningMean:
    """Sum of weighted updates so far (float64, so that the order of sites hardly matters)."""

    total: Tensors = field(default_factory=dict)
    weight: float = 0.0


def fold(mean: RunningMean, update: Mapping[str, torch.Tensor], weight: float) -> RunningMean:
    """Add ``weight * update``; the running sum is updated in place and returned.

    Raises:
        ValueError: a weight that is not positive and finite, or other tensors than before.
    """
    if not 0.0 < weight < float("inf"):
        raise ValueError(f"weight {weight} is not positive and finite")
    if mean.total and mean.total.keys() != update.keys():
        raise ValueError("updates hold different tensors")
    for name, value in update.items():
        if name in mean.total:
            mean.total[name].add_(value.double(), alpha=weight)
        else:
            mean.total[name] = value.double() * weight
    mean.weight += weight
    return mean


def finish(mean: RunningMean) -> Tensors:
    r"""The weighted mean :math:`\sum_k w_k \Delta_k / \sum_k w_k`, float32.

    Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from
    Decentralized Data", Algorithm 1 (written for updates instead of models).

    Raises:
        ValueError: nothing was folded in.
    """
    if mean.weight <= 0:
        raise ValueError("no update was folded in")
    return {name: (value / mean.weight).float() for name, value in mean.total.items()}
