"""The mass detector: RetinaNet on a feature pyramid, with anchors of lesions' sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd

import torch
from torch import nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork, box_iou, clip_boxes_to_image

from common.configuration import DetectorConfig, TaskConfig
from common.errors import ConfigurationError
from common.models.anchors import ASPECTS, SIZES_A_LEVEL, AnchorLevel, anchor_levels, input_spacing_mm, place_anchors
from common.models.backbones import ResNetBackbone, Stage, build_backbone, freeze
from common.models.classifier import without_air
from common.models.normalisation import GROUPS, to_group_norm
from common.models.suppression import suppress

FOREGROUND, BACKGROUND = 0.5, 0.4
"""An anchor is to find a lesion that it overlaps by the first (IoU) or best of all anchors, and to find nothing below
the second; between them it does not learn (Lin et al. 2017, section 4.1)."""
CANDIDATES = 300
"""So many anchors of an image, those of the highest scores, go on to suppression."""


@dataclass(frozen=True)
class RawDetections:
    """What the network says of every anchor, float32: ``logits`` ``(N, A)``, ``offsets`` ``(N, A, 4)``, and the
    ``anchors`` ``(A, 4)`` of every image."""

    logits: torch.Tensor
    offsets: torch.Tensor
    anchors: torch.Tensor
    size: tuple[int, int]
    """Rows and columns of the images."""


@dataclass(frozen=True)
class Detections:
    """Boxes ``(D, 4)`` of one image, x0, y0, x1, y1 in its pixels, and their scores ``(D,)``, highest first."""

    boxes: torch.Tensor
    scores: torch.Tensor


class FullPrecision(nn.Conv2d):
    """A convolution in float32 under autocast too: in bf16 many detections would have one score."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As ``Conv2d``."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


class MassDetector(nn.Module):
    """Backbone, feature pyramid, and two towers that all its levels share: is it a mass, and where exactly.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection" (RetinaNet). Differences: one class, group
    normalisation in the towers, levels and anchors from :mod:`common.models.anchors`, none coarser than the backbone.
    """

    def __init__(
        self, backbone: ResNetBackbone, levels: Sequence[AnchorLevel], config: DetectorConfig, frozen_stages: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels, self.config = tuple(levels), config
        self.pyramid = FeaturePyramidNetwork(backbone.level_channels[-len(levels) :], config.channels)
        norm = partial(nn.GroupNorm, gcd(GROUPS, config.channels))
        self.head = RetinaNetHead(config.channels, SIZES_A_LEVEL * len(ASPECTS), 1, norm_layer=norm)
        for tower, last in ((self.head.classification_head, "cls_logits"), (self.head.regression_head, "bbox_reg")):
            tower.conv = tower.conv[: config.tower_convolutions]
            setattr(tower, last, _in_full_precision(getattr(tower, last)))
        self.matcher = Matcher(FOREGROUND, BACKGROUND, allow_low_quality_matches=True)
        self.coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self._frozen = freeze(backbone, frozen_stages)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The backbone's stages; module names are relative to ``self.backbone``."""
        return self.backbone.stages

    def train(self, mode: bool = True) -> MassDetector:
        """Switch mode; frozen stages stay in evaluation mode, so their statistics do not move either."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: torch.Tensor) -> RawDetections:
        """What the network says of views ``(N, 1, H, W)``."""
        features = self.backbone.levels(without_air(images))[-len(self.levels) :]
        named = OrderedDict((level.stage.name, value) for level, value in zip(self.levels, features, strict=True))
        maps = list(self.pyramid(named).values())
        found = self.head(maps)
        anchors = [place_anchors(level, *value.shape[2:]) for level, value in zip(self.levels, maps, strict=True)]
        size = (int(images.shape[2]), int(images.shape[3]))
        return RawDetections(
            found["cls_logits"][..., 0], found["bbox_regression"], torch.cat(anchors).to(images.device), size
        )

    def losses(self, found: RawDetections, boxes: Sequence[torch.Tensor]) -> torch.Tensor:
        """Loss ``(N,)`` of every image by itself: focal loss of all anchors and L1 of the boxes, both by the image's
        number of matched anchors.

        No image's loss depends on another's, so a batch's loss is their mean: what a patient adds to an update can
        be bounded, on which differential privacy rests.

        Args:
            found: from :meth:`forward`.
            boxes: lesions of each image, ``(L, 4)``, L from 0, with an area.
        """
        return torch.stack([self._loss(found, number, lesions) for number, lesions in enumerate(boxes)])

    def _loss(self, found: RawDetections, number: int, lesions: torch.Tensor) -> torch.Tensor:
        lesions = lesions.to(found.anchors)
        if len(lesions):
            matched = self.matcher(box_iou(lesions, found.anchors))
        else:
            matched = torch.full((len(found.anchors),), Matcher.BELOW_LOW_THRESHOLD, device=lesions.device)
        target = {"boxes": lesions, "labels": torch.zeros(len(lesions), dtype=torch.int64, device=lesions.device)}
        outputs = {"cls_logits": found.logits[number, None, :, None], "bbox_regression": found.offsets[number, None]}
        parts: dict[str, torch.Tensor] = self.head.compute_loss([target], outputs, [found.anchors], [matched])
        return parts["classification"] + parts["bbox_regression"]

    def detections(self, found: Sequence[RawDetections], mirrored: Sequence[bool]) -> list[Detections]:
        """Final detections of every image, from one or several looks at it.

        Args:
            found: of the same images; a mirrored look saw them top to bottom.
            mirrored: whether each look did.
        """
        return [self._of_image(found, mirrored, number) for number in range(len(found[0].logits))]

    def _of_image(self, found: Sequence[RawDetections], mirrored: Sequence[bool], number: int) -> Detections:
        boxes, scores = [], []
        for look, upside_down in zip(found, mirrored, strict=True):
            best = look.logits[number].topk(min(CANDIDATES, look.logits.shape[1]))
            placed = self.coder.decode_single(look.offsets[number][best.indices], look.anchors[best.indices])
            placed = clip_boxes_to_image(placed, look.size)
            if upside_down:
                placed = torch.stack(
                    [placed[:, 0], look.size[0] - placed[:, 3], placed[:, 2], look.size[0] - placed[:, 1]], dim=1
                )
            boxes.append(placed)
            scores.append(best.values.sigmoid())
        config = self.config
        return Detections(
            *suppress(
                torch.cat(boxes), torch.cat(scores), config.suppression, config.suppression_overlap,
                config.minimum_score, config.maximum_detections,
            )
        )  # fmt: skip


def _in_full_precision(convolution: nn.Conv2d) -> FullPrecision:
    """The same convolution with the same parameters."""
    full = FullPrecision(convolution.in_channels, convolution.out_channels, kernel_size=3, stride=1, padding=1)
    full.weight, full.bias = convolution.weight, convolution.bias
    return full


def build_detector(task: TaskConfig, seed: int) -> MassDetector:
    """Make a detector whose initial weights depend on ``seed`` alone; the global generator is left as it was.

    Raises:
        ConfigurationError: the backbone is unknown or no ResNet, or more frozen stages than there are.
    """
    model, detector = task.model, task.detector
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(model.backbone)
        if not isinstance(backbone, ResNetBackbone):
            raise ConfigurationError(
                f"the detector's pyramid cannot be built on {model.backbone}",
                where="model.backbone",
                do="choose resnet8, resnet10, resnet18 or resnet50",
            )
        if model.norm == "group":
            to_group_norm(backbone)
        spacing = input_spacing_mm(task.imaging, detector)
        levels = anchor_levels(detector.smallest_mm / spacing, detector.largest_mm / spacing, backbone.stages[1:])
        return MassDetector(backbone, levels, detector, model.frozen_stages)
