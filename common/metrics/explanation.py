"""Do explanation maps point at what doctors outlined: pointing game, energy inside the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]


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
    return bool(2 * np.count_nonzero(maxima & _inside(found.shape, boxes)) > np.count_nonzero(maxima))


def energy_in_boxes(found: Map, boxes: Sequence[HasBounds]) -> float:
    """Share of the map's positive values that lies inside the boxes; 0 for a map without any.

    Args:
        found: ``(H, W)``; negative values count as 0.
        boxes: in pixels of the map; where they overlap a pixel counts once.

    Source: Wang et al. 2020, "Score-CAM", section 4.3 (energy-based pointing game).
    """
    positive = np.maximum(found, 0.0).astype(np.float64)
    total = positive.sum()
    return float(positive[_inside(found.shape, boxes)].sum() / total) if total > 0.0 else 0.0


def _inside(shape: tuple[int, ...], boxes: Sequence[HasBounds]) -> npt.NDArray[np.bool_]:
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
