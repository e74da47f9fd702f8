"""Of detections that overlap the best is kept: non-maximum suppression, hard or soft."""

from __future__ import annotations

import torch
from torchvision.ops import box_iou, nms

SOFTNESS = 0.5
"""Sigma of soft suppression, as in its paper."""


def suppress(
    boxes: torch.Tensor, scores: torch.Tensor, rule: str, overlap: float, minimum: float, limit: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reduce detections of one image to at most ``limit`` that differ, highest score first.

    Args:
        boxes: ``(D, 4)``.
        scores: ``(D,)``, 0 or more.
        rule: ``nms`` drops what overlaps a better detection by more than ``overlap``. ``soft`` multiplies its score by
            exp(-IoU²/sigma) instead, so that two masses side by side both stay; ``overlap`` is not read.
        overlap: intersection over union, 0 to 1.
        minimum: detections with a lower score fall away.
        limit: how many may stay.

    Returns:
        Boxes ``(K, 4)`` and scores ``(K,)``.

    Raises:
        ValueError: unknown rule.

    Source: soft suppression: Bodla et al. 2017, "Soft-NMS", equation 3.
    """
    enough = scores >= minimum
    boxes, scores = boxes[enough], scores[enough]
    match rule:
        case "nms":
            kept = nms(boxes, scores, overlap)[:limit]
            return boxes[kept], scores[kept]
        case "soft":
            return _softly(boxes, scores, minimum, limit)
    raise ValueError(f"unknown suppression '{rule}'")


def _softly(boxes: torch.Tensor, scores: torch.Tensor, minimum: float, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    kept: list[int] = []
    values: list[float] = []
    left = scores.clone()
    while len(kept) < limit and len(left) and float(left.max()) >= minimum:
        best = int(left.argmax())
        kept.append(best)
        values.append(float(left[best]))
        left = left * torch.exp(-(box_iou(boxes[best : best + 1], boxes)[0] ** 2) / SOFTNESS)
        left[kept] = -1.0
    return boxes[kept], torch.tensor(values, dtype=scores.dtype, device=scores.device)
