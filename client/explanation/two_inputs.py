"""The classifier as a function that has no jumps: of the grey values, and of which pixels are tissue.

The classifier reads two things from a picture: grey values with air at 0, and where there is tissue. Read from one
picture they jump at the edge of the breast, and no attribution along a path can add up. Taken as two inputs they do
not; an attribution to a pixel is the sum over both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from client.explanation.multipliers import pooled_by_weight
from common.models.classifier import AIR, BreastClassifier, without_air


@dataclass(frozen=True)
class TwoInputs:
    """Views as the network takes them, both ``(N, 1, H, W)``: ``grey``, and ``tissue`` 0 or 1."""

    grey: torch.Tensor
    tissue: torch.Tensor

    def __len__(self) -> int:
        return len(self.grey)

    def __getitem__(self, some: slice) -> TwoInputs:
        return TwoInputs(self.grey[some], self.tissue[some])


def two_inputs(images: torch.Tensor) -> TwoInputs:
    """Split prepared images ``(N, 1, H, W)``; in one without tissue every pixel counts, as in the classifier."""
    tissue = images > AIR
    tissue = tissue | ~tissue.flatten(1).any(dim=1)[:, None, None, None]
    return TwoInputs(without_air(images), tissue.to(images.dtype))


class TwoInputClassifier(nn.Module):
    """Logits ``(N, 1)`` of grey values and tissue; where tissue is 0 or 1 they are the classifier's own."""

    def __init__(self, model: BreastClassifier) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        self.pooling, self.sharpness = model.pooling, model.sharpness

    def forward(self, grey: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
        """Logits of ``(N, 1, H, W)`` each; ``tissue`` from 0 to 1."""
        features = self.backbone(grey)
        if self.pooling == "average":
            logits: torch.Tensor = self.head(features.mean(dim=(2, 3)))
            return logits
        local = self.head(features.flatten(2).transpose(1, 2))[..., 0]
        counts = F.adaptive_max_pool2d(tissue, list(features.shape[2:])).flatten(1)
        return pooled_by_weight(local, counts, self.sharpness)[:, None]
