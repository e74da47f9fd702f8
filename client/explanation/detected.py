"""A detector as something that can be explained: the score of the box that it is surest of, or of a box of choice."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.ops import box_iou

from common.errors import ExplainerError
from common.models.backbones import ResNetBackbone, Stage
from common.models.classifier import BreastClassifier
from common.models.detector import MassDetector, RawDetections

SAME_PLACE = 0.5
"""An anchor speaks for a place if its box overlaps the place's by this (IoU) or more."""


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


class PlaceScore(DetectedScore):
    """Logit ``(N,)`` of the highest of some anchors, those that speak for one place (:func:`anchors_at`)."""

    def __init__(self, detector: MassDetector, anchors: torch.Tensor) -> None:
        super().__init__(detector)
        self.anchors = anchors

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of views."""
        logits = self.detector(images).logits
        highest: torch.Tensor = logits[:, self.anchors.to(logits.device)].amax(dim=1)
        return highest


def anchors_at(detector: MassDetector, found: RawDetections, number: int, place: torch.Tensor) -> torch.Tensor:
    """Which anchors speak for a place: those whose boxes overlap it by ``SAME_PLACE``, otherwise the nearest to it.

    Of an image's surest detection the highest of them is the anchor that it was made of. A weaker detection may lie
    beside a surer anchor that was suppressed by a still surer one; then that anchor speaks for the place.

    Args:
        detector: whose anchors.
        found: what it said of some images.
        number: of the image.
        place: ``(4,)``, x0, y0, x1, y1 in the image's pixels.

    Returns:
        Indices ``(K,)``, K from 1.
    """
    boxes = detector.coder.decode_single(found.offsets[number], found.anchors)
    shares = box_iou(place.to(boxes)[None], boxes)[0]
    return torch.nonzero(shares >= min(SAME_PLACE, float(shares.max())))[:, 0]


Explained = BreastClassifier | DetectedScore
"""What explainers take."""


CLASSIFIERS_ONLY = ("scorecam", "shap", "expected_gradients")
"""Explainers that follow a classifier's arithmetic."""


def require_classifier(
    model: Explained | MassDetector, method: str, where: str = "evaluation.explainers"
) -> BreastClassifier:
    """For :data:`CLASSIFIERS_ONLY`.

    Raises:
        ExplainerError: the model is none.
    """
    if not isinstance(model, BreastClassifier):
        raise ExplainerError(
            f"{method} explains classifiers, this is a detector",
            where=where,
            do="choose hirescam, layercam, gradcam, gradcam++, eigencam or ablationcam",
        )
    return model
