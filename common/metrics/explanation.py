"""Do explanation maps point at what doctors outlined: pointing game, energy inside the boxes, overlap, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class HasBounds(Protocol):
    """A rectangle in pixels of the map, from 0; ``x1`` and ``y1`` exclusive."""

    @property
    def x0(self) -> float: ...
    @property
    def y0(self) -> float: ...
    @property
    def x1(self) -> float: ...
    @property
    def y1(self) -> float: ...


def pointing_game(found: Map, boxes: Sequence[HasBounds]) -> bool:
    """Whether the map's maximum lies inside any box; a constant map points nowhere and misses.

    Of several equal maxima more than half must lie inside.

    Args:
        found: ``(H, W)``.
        boxes: in pixels of the map.

    Source: Zhang et al. 2016, "Top-down neural attention by excitation backprop", section 4.2,
    without its 15-pixel tolerance: doctors' boxes already are generous.
    """
    highest = found.max()
    if highest == found.min():
        return False
    maxima = found == highest
    return bool(2 * np.count_nonzero(maxima & mask_of_boxes(found.shape, boxes)) > np.count_nonzero(maxima))


def energy_in_boxes(found: Map, boxes: Sequence[HasBounds]) -> float:
    """Share of the map's positive values that lies inside the boxes; 0 for a map without any.

    Args:
        found: ``(H, W)``; negative values count as 0.
        boxes: in pixels of the map; where they overlap a pixel counts once.

    Source: Wang et al. 2020, "Score-CAM", section 4.3 (energy-based pointing game).
    """
    positive = np.maximum(found, 0.0).astype(np.float64)
    total = positive.sum()
    return float(positive[mask_of_boxes(found.shape, boxes)].sum() / total) if total > 0.0 else 0.0


@dataclass(frozen=True)
class Overlap:
    """Two measures of how well two areas coincide, 0 to 1."""

    iou: float
    """Jaccard index: intersection over union."""
    dice: float
    """Twice the intersection over the sum of both areas."""


def overlap(found: Map, truth: Mask, level: float = 0.5) -> Overlap:
    """How well the hot part of a map coincides with an outline; both 0 for a map without positive values.

    Args:
        found: ``(H, W)``.
        truth: ``(H, W)``, for instance from :func:`mask_of_boxes`.
        level: hot is what reaches this share of the map's maximum.

    Raises:
        ValueError: level outside 0..1, or shapes that differ.

    Source: Zhou et al. 2016, "Learning deep features for discriminative localization", section 3.2 (with 20 %).
    """
    if not 0.0 < level <= 1.0:
        raise ValueError(f"level {level} is not a share of the maximum")
    if found.shape != truth.shape:
        raise ValueError(f"map {found.shape} and outline {truth.shape} differ in shape")
    highest = float(found.max())
    hot = found >= level * highest if highest > 0.0 else np.zeros_like(truth)
    common = int(np.count_nonzero(hot & truth))
    union = int(np.count_nonzero(hot | truth))
    both = int(np.count_nonzero(hot)) + int(np.count_nonzero(truth))
    return Overlap(common / union if union else 0.0, 2 * common / both if both else 0.0)


def rank_accuracy(found: Map, truth: Mask, seed: int = 0) -> float:
    """Of as many hottest pixels as the outline has, the share that lies inside; no threshold to choose.

    Equal values are taken in random order, so that a constant map gets what chance gives.

    Args:
        found: ``(H, W)``.
        truth: ``(H, W)``; NaN if it is empty.
        seed: of the order of equal values.

    Source: Arras et al. 2022, "CLEVR-XAI", equation 4 (relevance rank accuracy).
    """
    size = int(np.count_nonzero(truth))
    if not size:
        return float("nan")
    hottest = descending(found.ravel(), seed)[:size]
    return float(np.count_nonzero(truth.ravel()[hottest]) / size)


def rank_correlation(one: Map, other: Map, tissue: Mask) -> float:
    """Spearman's correlation of two maps over the breast; 0 where one of them is constant.

    Args:
        one: ``(H, W)``.
        other: ``(H, W)``.
        tissue: ``(H, W)``, pixels that count: air would make any two maps alike.
    """
    from scipy.stats import rankdata  # most of a second to load; the coordinator's processes come by here

    first, second = rankdata(one[tissue]), rankdata(other[tissue])
    if not len(first) or first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def descending(values: npt.NDArray[np.floating], seed: int) -> npt.NDArray[np.intp]:
    """Indices from the largest value to the smallest, equal ones in random order."""
    chance = np.random.default_rng(seed).permutation(len(values))
    return np.lexsort((chance, -values.astype(np.float64)))


def mask_of_boxes(shape: tuple[int, ...], boxes: Sequence[HasBounds]) -> Mask:
    """Pixels whose centre a box covers, and, for boxes smaller than a pixel, the one they lie in."""
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    inside = np.zeros(shape, dtype=np.bool_)
    for box in boxes:
        tall = (rows >= box.y0) & (rows < box.y1)
        wide = (columns >= box.x0) & (columns < box.x1)
        if not tall.any():
            tall = np.abs(rows - (box.y0 + box.y1) / 2) <= 0.5
        if not wide.any():
            wide = np.abs(columns - (box.x0 + box.x1) / 2) <= 0.5
        inside |= tall[:, None] & wide
    return inside
