"""A detector as something that can be explained: the score of the box that it is surest of."""

from __future__ import annotations

import torch
from torch import nn

from common.errors import ExplainerError
from common.models.backbones import ResNetBackbone, Stage
from common.models.classifier import BreastClassifier
from common.models.detector import MassDetector


class DetectedScore(nn.Module):
    """Logit ``(N,)`` of the highest anchor of each view ``(N, 1, H, W)``, before any detection is dropped.

    It has a classifier's parts by a classifier's names: everything above the backbone is the ``head``.
    """

    def __init__(self, detector: MassDetector) -> None:
        super().__init__()
        self.detector = detector

    @property
    def backbone(self) -> ResNetBackbone:
        """The detector's own."""
        return self.detector.backbone

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The backbone's stages; module names are relative to ``self.backbone``."""
        return self.detector.stages

    @property
    def head(self) -> nn.Module:
        """Feature pyramid and towers."""
        return nn.ModuleList([self.detector.pyramid, self.detector.head])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of views."""
        highest: torch.Tensor = self.detector(images).logits.amax(dim=1)
        return highest


Explained = BreastClassifier | DetectedScore
"""What explainers take."""


def require_classifier(model: Explained, method: str) -> BreastClassifier:
    """For explainers that follow a classifier's arithmetic.

    Raises:
        ExplainerError: the model is none.
    """
    if not isinstance(model, BreastClassifier):
        raise ExplainerError(
            f"{method} explains classifiers, this is a detector",
            where="evaluation.explainers",
            do="choose hirescam, layercam, gradcam, gradcam++, eigencam or ablationcam",
        )
    return model
