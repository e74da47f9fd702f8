"""What an objective is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from common.packing import Tensors

Loss = Callable[[], torch.Tensor]
"""Computes the loss of the batch at hand; called again it draws other random numbers."""
Backward = Callable[[Loss], float]
"""Leaves the gradient of the objective in the parameters, whose gradients are empty; returns the batch's own loss."""


@dataclass(frozen=True)
class Guidance:
    """What steers a site's training besides its data."""

    anchor: Tensors | None = None
    """Parameters that ``proximal`` holds on to; by default those of the beginning."""
    local: frozenset[str] = frozenset()
    """Names of the site's own layers, which no common model holds back."""
    correction: Tensors | None = None
    """Added to the gradient by ``control_variates``: the server's variate less the site's."""
    purpose: str = "training"
    """Owner of the random numbers."""
