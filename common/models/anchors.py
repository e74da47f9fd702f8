"""Anchors of the detector: boxes from lesion sizes in mm, on a grid over the cells of each pyramid level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from common.configuration import DetectorConfig, ImagingConfig
from common.models.backbones import Stage

SIZES_A_LEVEL = 3
ASPECTS = (2 / 3, 1.0, 3 / 2)
"""Height by width: masses are round, more or less; objects of photographs, for which 1/2 and 2 are usual, are not."""
FINEST = 2.5
"""The smallest anchor is so many cells wide or more, where there are cells that small: on a coarser grid a lesion may
lie between two anchors and overlap neither well."""


@dataclass(frozen=True)
class AnchorLevel:
    """Anchors of one level: side lengths (square root of the area) in pixels, on the cells of ``stage``."""

    stage: Stage
    sizes: tuple[float, ...]


def input_spacing_mm(imaging: ImagingConfig, detector: DetectorConfig) -> float:
    """Side of an input pixel in mm: as resampled to, or about that of a breast fitted into the frame."""
    return imaging.spacing_mm if imaging.spacing_mm is not None else detector.frame_mm / imaging.height


def anchor_levels(smallest: float, largest: float, stages: Sequence[Stage]) -> tuple[AnchorLevel, ...]:
    """Spread anchors evenly on a scale of octaves over the levels that are neither too coarse nor needlessly fine.

    Args:
        smallest: side of the smallest lesions, pixels.
        largest: side of the largest, more than ``smallest``.
        stages: of the backbone that a pyramid can be built on, finest first, at least one.
    """
    fit = [stage for stage in stages if stage.stride * FINEST <= smallest]
    chosen = stages[max(0, len(fit) - 1) :]
    steps = SIZES_A_LEVEL * len(chosen)
    ratio = (largest / smallest) ** (1 / (steps - 1))
    sizes = [smallest * ratio**step for step in range(steps)]
    return tuple(
        AnchorLevel(stage, tuple(sizes[place * SIZES_A_LEVEL : (place + 1) * SIZES_A_LEVEL]))
        for place, stage in enumerate(chosen)
    )


def place_anchors(level: AnchorLevel, rows: int, columns: int) -> torch.Tensor:
    """Anchors ``(rows * columns * sizes * aspects, 4)`` of a level: x0, y0, x1, y1 in pixels, float32.

    Cells run along rows first, then the anchors of a cell. They lie where the cells are centred, and are neither
    rounded nor ever bf16: both would move a small lesion's anchor by a good part of its size.
    """
    shapes = [(size * math.sqrt(aspect), size / math.sqrt(aspect)) for size in level.sizes for aspect in ASPECTS]
    half = torch.tensor([(-width / 2, -height / 2, width / 2, height / 2) for height, width in shapes])
    middle = level.stage.centre + 0.5  # pixel 0 covers 0 to 1
    y, x = torch.meshgrid(
        middle + level.stage.stride * torch.arange(rows, dtype=torch.float32),
        middle + level.stage.stride * torch.arange(columns, dtype=torch.float32),
        indexing="ij",
    )
    centres = torch.stack([x, y, x, y], dim=2).reshape(-1, 1, 4)
    return (centres + half).reshape(-1, 4)
