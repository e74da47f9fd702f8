"""Sharpness-aware minimisation: the gradient is taken where the loss nearby is highest."""

from __future__ import annotations

import torch
from torch import nn

from client.objectives.guidance import Backward, Loss

_TINY = 1e-12


def sharpness_aware(model: nn.Module, rho: float, generator: torch.Generator) -> Backward:
    r"""Gradient :math:`\nabla L(w + \hat\epsilon)` with :math:`\hat\epsilon = \rho\, \nabla L(w) / \lVert \nabla L(w)
    \rVert_2`.

    Source: Foret et al. 2021, "Sharpness-Aware Minimization", arXiv 2010.01412, equations 2 and 3 (p = 2); at the
    sites of a federation: Qu et al. 2022, arXiv 2206.02618 (FedSAM), algorithm 1. The norm is that of all parameters
    together. Both looks at a batch see the same augmentation and the same dropout; running statistics move by
    the first look only, which sees the model that is kept. Costs twice the time.

    Args:
        model: in training.
        rho: length of the step uphill.
        generator: that the batches' augmentation draws from.
    """
    parameters = [value for value in model.parameters() if value.requires_grad]

    def backward(loss: Loss) -> float:
        drawn = _Drawn(generator, parameters[0].device)
        first = loss()
        torch.autograd.backward(first)
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        found = [(value, value.detach().clone(), value.grad) for value in parameters if value.grad is not None]
        with torch.no_grad():
            norm = torch.stack([gradient.pow(2).sum() for _, _, gradient in found]).sum().sqrt()
            for value, _, gradient in found:
                value.add_(gradient * (rho / (norm + _TINY)))
                value.grad = None
        drawn.again()
        torch.autograd.backward(loss())
        with torch.no_grad():
            for value, before, _ in found:
                value.copy_(before)
            for buffer, after_first in buffers:
                buffer.copy_(after_first)
        return first.item()

    return backward


class _Drawn:
    """Where the random generators of a look stood, so that the next look draws the same numbers."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self._generator, self._device = generator, device
        self._augmentation, self._dropout = generator.get_state(), torch.get_rng_state()
        self._on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def again(self) -> None:
        """Go back to where they stood."""
        self._generator.set_state(self._augmentation)
        torch.set_rng_state(self._dropout)
        if self._on_device is not None:
            torch.cuda.set_rng_state(self._on_device, self._device)
