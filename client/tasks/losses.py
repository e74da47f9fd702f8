"""What a network has still to learn of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Losses:
    """``values`` ``(U,)``: losses of what a task takes a loss of, breasts or views; their mean is the batch's loss.

    ``breast``: int64 ``(U,)``, position in the batch of the breast that each belongs to.
    """

    values: torch.Tensor
    breast: torch.Tensor
