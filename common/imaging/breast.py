"""Finds the breast, and the side of the chest wall, in a mammogram with dark air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from common.imaging.resampling import shrink

LONG_SIDE = 256
TISSUE = 0.6
"""Where tissue begins, share of the way from air to the threshold."""
STRIP = 0.08
"""Half the width below which a limb of the mask is no breast, share of the square root of its area."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BreastRegion:
    """Where the breast lies.

    ``mask``: bool, a small version of the image (the longer side has at most 256 pixels).
    ``bounds``: x0, y0, x1, y1 in pixels of the image, exclusive.
    ``chest_wall``: ``left`` or ``right``.
    """

    mask: Mask
    bounds: tuple[int, int, int, int]
    chest_wall: str


def find_breast(pixels: npt.NDArray[np.float32], laterality: str) -> BreastRegion | None:
    """Find the largest piece of tissue.

    Air is taken to be the darkest large value; tissue begins where the smoothed image rises above it
    by 0.6 of the way to Otsu's threshold. That is taken twice, the second time with all values above
    the first cut down to it, and then lies between air and tissue also beside a bright implant. Thin
    links (tape, film edges) are cut by an opening. Labels and markers are smaller pieces and fall away;
    bars that run into the breast (film edges, detector borders, folds of the abdomen) are too narrow.
    ``None`` when nothing is found.

    Args:
        pixels: float32 ``(rows, columns)``, 0..1, air dark.
        laterality: ``L`` or ``R``; decides the chest wall's side only where the image does not.
    """
    small = ndimage.gaussian_filter(shrink(pixels, LONG_SIDE), 1.0)
    low, high = float(small.min()), float(small.max())
    if high - low < 1e-3:
        return None
    air = float(np.quantile(small, 0.02))
    lower = threshold_otsu(np.minimum(small, threshold_otsu(small)))
    threshold = air + (lower - air) * TISSUE
    tissue = ndimage.binary_opening(small > threshold, iterations=3)
    labels, number = ndimage.label(tissue)
    if number == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    largest = labels == 1 + int(np.argmax(sizes))
    if largest.sum() < 0.01 * largest.size:
        return None
    side = _chest_wall(largest, laterality)
    mask = _filled(_without_strips(_filled(largest, side)), side)
    return BreastRegion(mask, _bounds(mask, pixels.shape), side)


def _without_strips(mask: Mask) -> Mask:
    """Cut off limbs that are far narrower than the breast, but for a stub; nipple and skin line stay.

    Left and right of the image count as tissue (the chest wall is there), above and below as air.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, ((1, 1), (0, 0))))[1:-1]
    half_width = STRIP * float(np.sqrt(mask.sum()))
    labels, number = ndimage.label(depth > half_width)
    if number == 0:
        return mask
    core = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    near = ndimage.distance_transform_edt(~core) <= 1.5 * half_width + 1.0
    return np.asarray(mask & near, dtype=np.bool_)


def _filled(mask: Mask, chest_wall: str) -> Mask:
    """Fill holes, also those that open towards the chest wall (dark fat, implants)."""
    wall = (1, 0) if chest_wall == "left" else (0, 1)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    closed = ndimage.binary_fill_holes(np.pad(inside, ((0, 0), wall), constant_values=True))
    filled = mask.copy()
    filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = closed[:, wall[0] : closed.shape[1] - wall[1]]
    return filled


def _bounds(mask: Mask, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    vertical, horizontal = shape[0] / mask.shape[0], shape[1] / mask.shape[1]
    return (
        int(columns[0] * horizontal),
        int(rows[0] * vertical),
        min(shape[1], round((columns[-1] + 1) * horizontal)),
        min(shape[0], round((rows[-1] + 1) * vertical)),
    )


def _chest_wall(mask: Mask, laterality: str) -> str:
    """The side on which the breast is cut off straight: more of its outermost columns is tissue."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(1, inside.shape[1] // 20)
    left, right = float(inside[:, :width].mean()), float(inside[:, -width:].mean())
    if abs(left - right) < 0.1:
        return "left" if laterality == "L" else "right"
    return "left" if left > right else "right"
