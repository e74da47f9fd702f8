"""The classifier: one logit of malignancy a view, pooled over the views of a breast."""

from __future__ import annotations

import torch
from torch import nn

from common.configuration import ModelConfig
from common.models.backbones import Backbone, Stage, build_backbone, freeze
from common.models.normalisation import to_group_norm

AIR = -3.0
"""Value of prepared images outside the breast."""


def without_air(images: torch.Tensor) -> torch.Tensor:
    """Images with air at 0, the level of middling tissue, so that the skin is not the strongest edge."""
    return torch.where(images <= AIR, torch.zeros_like(images), images)


class BreastClassifier(nn.Module):
    """Backbone and one linear unit.

    ``average`` pooling averages features over positions before the unit. ``lse`` applies the unit
    at every position and pools the local logits s by (1/r) log mean exp(r s): between mean
    (r to 0) and maximum (r to infinity), so that a small lesion is not averaged away
    (Pinheiro & Collobert 2015, CVPR, equation 1). Positions without any tissue do not count: air is no evidence.
    """

    def __init__(self, backbone: Backbone, pooling: str, sharpness: float, dropout: float, frozen_stages: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.channels, 1)
        self.pooling, self.sharpness = pooling, sharpness
        self._frozen = freeze(backbone, frozen_stages)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The backbone's stages; module names are relative to ``self.backbone``."""
        return self.backbone.stages

    def train(self, mode: bool = True) -> BreastClassifier:
        """Switch mode; frozen stages stay in evaluation mode, so their statistics do not move either."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def local_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, h, w)`` of every position (without dropout), for ``lse`` pooling and for maps."""
        features = self.backbone(without_air(images))
        local: torch.Tensor = self.head(features.permute(0, 2, 3, 1))[..., 0]
        return local

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(N,)`` of views ``(N, 1, H, W)``."""
        features = self.backbone(without_air(images))
        if self.pooling == "average":
            with torch.autocast(images.device.type, enabled=False):  # bf16 logits would tie patients who differ
                logits: torch.Tensor = self.head(self.dropout(features.float().mean(dim=(2, 3))))[:, 0]
            return logits
        local = self.head(self.dropout(features.flatten(2).transpose(1, 2)))[..., 0].float()
        return _pooled(local, _tissue(images, features.shape[2:]).flatten(1), self.sharpness)


def _tissue(images: torch.Tensor, grid: torch.Size) -> torch.Tensor:
    """Which cells ``(N, h, w)`` of a feature map hold tissue; all of them in a picture without any."""
    cells = nn.functional.adaptive_max_pool2d((images[:, 0] > AIR).float(), list(grid)) > 0
    return cells | ~cells.flatten(1).any(dim=1)[:, None, None]


def _pooled(local: torch.Tensor, counts: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Log-sum-exp mean ``(N,)`` of the local logits ``(N, P)`` that count ``(N, P)``."""
    scaled = (sharpness * local).masked_fill(~counts, -torch.inf)
    return (torch.logsumexp(scaled, dim=1) - torch.log(counts.sum(dim=1))) / sharpness


def build_classifier(config: ModelConfig, seed: int) -> BreastClassifier:
    """Make a classifier whose initial weights depend on ``seed`` alone; the global generator is left as it was.

    Raises:
        ConfigurationError: unknown backbone, or more frozen stages than there are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(config.backbone)
        if config.norm == "group":
            to_group_norm(backbone)
        return BreastClassifier(backbone, config.pooling, config.lse_sharpness, config.dropout, config.frozen_stages)


def pool_views(view_logits: torch.Tensor, breast_of_image: torch.Tensor, breasts: int) -> torch.Tensor:
    """Mean logit of each breast's views.

    Args:
        view_logits: ``(N,)``.
        breast_of_image: int64 ``(N,)``, 0 to ``breasts - 1``, each at least once.
        breasts: number of breasts B.

    Returns:
        ``(B,)``.
    """
    total = torch.zeros(breasts, dtype=view_logits.dtype, device=view_logits.device)
    count = torch.zeros_like(total)
    total = total.index_add(0, breast_of_image, view_logits)
    return total / count.index_add(0, breast_of_image, torch.ones_like(view_logits))
