"""Tissue of a breast replaced by other tissue of it, texture and all.

Smooth tissue in place of a mark is what a detector of masses was taught to find: its score rises. So what is put there
is a piece of the same breast, fitted to its new surroundings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from common.metrics.explanation import Map, Mask

TRIES = 64
"""Places that are looked at for a piece of tissue; the one with the most tissue is taken."""
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def transplanted(image: Map, tissue: Mask, region: Mask, random: np.random.Generator) -> Map:
    """The view with each part of a region replaced by a piece of tissue from another place.

    The piece keeps its differences from pixel to pixel and takes its level from what surrounds its new place, so that
    no edge is seen. Where it reaches into air or into the region, it is smooth.

    Args:
        image: ``(H, W)``.
        tissue: ``(H, W)``.
        region: ``(H, W)``; only its tissue is replaced.
        random: chooses the places.

    Source: Pérez, Gangnet & Blake 2003, "Poisson image editing", equation 7 (seamless cloning).
    """
    result = image.astype(np.float32)
    parts, number = ndimage.label(region & tissue)
    for part in range(1, number + 1):
        inside = parts == part
        shift = _shift(inside, tissue & ~region, random)
        result[inside] = _fitted(result, tissue, inside, _moved(image, shift), _moved(tissue & ~region, shift))
    return result


def _shift(inside: Mask, source: Mask, random: np.random.Generator) -> tuple[int, int]:
    """By how many rows and columns a piece is fetched: of some random places the one with the most tissue."""
    rows, columns = np.nonzero(inside)
    places = np.argwhere(source)
    if not len(places):
        return 0, 0
    best, most = (0, 0), -1
    for row, column in places[random.integers(len(places), size=TRIES)].tolist():
        shift = (row - int(rows.mean()), column - int(columns.mean()))
        at = rows + shift[0], columns + shift[1]
        within = (at[0] >= 0) & (at[1] >= 0) & (at[0] < inside.shape[0]) & (at[1] < inside.shape[1])
        found = int(np.count_nonzero(source[at[0][within], at[1][within]]))
        if found > most:
            best, most = shift, found
    return best


def _moved(values: npt.NDArray[np.generic], shift: tuple[int, int]) -> npt.NDArray[np.generic]:
    """``values[row + shift]`` at every row and column; 0 where that is outside."""
    moved = np.zeros_like(values)
    height, width = values.shape
    down, right = shift
    to = np.s_[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    of = np.s_[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    moved[to] = values[of]
    return moved


def _fitted(
    image: Map, tissue: Mask, inside: Mask, piece: npt.NDArray[np.generic], usable: npt.NDArray[np.generic]
) -> npt.NDArray[np.float64]:
    """Values inside whose differences are the piece's, and which meet the tissue around."""
    rows, columns = np.nonzero(inside)
    count = len(rows)
    place = np.full(image.shape, -1)
    place[inside] = np.arange(count)
    degree, right = np.zeros(count), np.zeros(count)
    first, second = [], []
    for down, across in NEIGHBOURS:
        at, beside = rows + down, columns + across
        within = (at >= 0) & (beside >= 0) & (at < image.shape[0]) & (beside < image.shape[1])
        at, beside = at.clip(0, image.shape[0] - 1), beside.clip(0, image.shape[1] - 1)
        within &= tissue[at, beside]
        both = within & usable[rows, columns] & usable[at, beside]
        right += np.where(both, piece[rows, columns].astype(float) - piece[at, beside].astype(float), 0.0)
        unknown = within & inside[at, beside]
        known = within & ~inside[at, beside]
        right[known] += image[at[known], beside[known]]
        degree += within
        first.append(np.flatnonzero(unknown))
        second.append(place[at[unknown], beside[unknown]])
    lines, others = np.concatenate(first), np.concatenate(second)
    diagonal = np.arange(count)
    values = np.concatenate([np.full(len(lines), -1.0), degree + 1e-9])
    system = coo_matrix((values, (np.concatenate([lines, diagonal]), np.concatenate([others, diagonal]))))
    return np.asarray(spsolve(system.tocsc(), right + 1e-9 * image[inside]))
