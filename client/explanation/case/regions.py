"""Where a map is hot, or a mark lies, as outlines in pixels of the original image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.measure import find_contours

from common.imaging.box import Box
from common.imaging.geometry import Geometry

HOT = 0.5
"""A region is hot where the map reaches this share of its maximum over the breast's views."""
MOST = 3
"""Regions of a view, at most."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """An outline ``(N, 2)``, columns x and y in pixels of the original (0, 0 is the corner of the first one), closed;
    and the map's highest value inside, as a share of its maximum over the breast's views, or a mark's score."""

    outline: Points
    peak: float


def hot_regions(found: npt.NDArray[np.float32], geometry: Geometry, maximum: float) -> list[Region]:
    """Outline the hot regions of a view, the hottest first.

    Args:
        found: the map ``(rows, columns)`` in the network's input, 0 or more.
        geometry: of the view.
        maximum: of the map over the breast's views.
    """
    if maximum <= 0:
        return []
    level = HOT * maximum
    lines = find_contours(np.pad(found, 1), level)  # the margin closes outlines at the edge
    regions = []
    for line in lines:
        inside = line[:, ::-1] - 0.5  # from pixel centres of the padded map to corners of the map, x before y
        if _signed_area(inside) <= 0:  # holes turn the other way
            continue
        x0, y0 = np.floor(inside.min(axis=0)).astype(int).clip(0)
        x1, y1 = np.ceil(inside.max(axis=0)).astype(int)
        regions.append(Region(geometry.points_to_stored(inside), float(found[y0:y1, x0:x1].max()) / maximum))
    return sorted(regions, key=lambda region: -region.peak)[:MOST]


def outline_of(box: Box) -> Points:
    """A box as a closed outline."""
    corners = [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1), (box.x0, box.y0)]
    return np.array(corners, dtype=np.float64)


def _signed_area(points: Points) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
