"""SCAFFOLD at a site: every gradient is corrected by how the site's differs from everybody's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from client.objectives.guidance import Backward, Loss


def corrected(model: nn.Module, correction: Mapping[str, torch.Tensor]) -> Backward:
    r"""Gradient :math:`\nabla F_k(y) - c_k + c`.

    Source: Karimireddy et al. 2020, arXiv 1910.06378. How the variates change after
    the round: :mod:`common.control_variates`.

    Args:
        model: in training.
        correction: :math:`c - c_k` by name of parameter; others (a site's own layers) are not corrected.
    """
    pairs = [
        (value, correction[name].to(value.device)) for name, value in model.named_parameters() if name in correction
    ]

    def backward(loss: Loss) -> float:
        own = loss()
        torch.autograd.backward(own)
        for value, shift in pairs:
            value.grad = shift.clone() if value.grad is None else value.grad.add_(shift)
        return own.item()

    return backward
