"""A sampled rectangle of the breast plane in millimetres, and resampling between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """Pixel (i, j) is centred at x = (j + ½)·spacing from the chest wall, y = top + (i + ½)·spacing, in mm."""

    rows: int
    columns: int
    spacing: float
    top: float

    def x(self) -> Field:
        """Centres of the columns in mm, float32 (columns,)."""
        return ((np.arange(self.columns) + 0.5) * self.spacing).astype(np.float32)

    def y(self) -> Field:
        """Centres of the rows in mm, float32 (rows,)."""
        return (self.top + (np.arange(self.rows) + 0.5) * self.spacing).astype(np.float32)

    def window(self, x: float, y: float, half: float) -> tuple[tuple[slice, slice], Field, Field]:
        """Slices of the square of half-width ``half`` mm round (x, y), with its mm offsets dx (1, w) and dy (h, 1)."""
        row0 = int(np.clip(np.floor((y - half - self.top) / self.spacing), 0, self.rows))
        row1 = int(np.clip(np.ceil((y + half - self.top) / self.spacing), row0, self.rows))
        column0 = int(np.clip(np.floor((x - half) / self.spacing), 0, self.columns))
        column1 = int(np.clip(np.ceil((x + half) / self.spacing), column0, self.columns))
        area = (slice(row0, row1), slice(column0, column1))
        return area, (self.x()[area[1]] - np.float32(x))[None, :], (self.y()[area[0]] - np.float32(y))[:, None]


def resample(field: Field, source: Frame, target: Frame) -> Field:
    """Separable Catmull-Rom resampling of ``field`` from ``source`` to ``target``; averages if that is coarser."""
    vertical = _weights(source.rows, source.spacing, source.top, target.rows, target.spacing, target.top)
    horizontal = _weights(source.columns, source.spacing, 0.0, target.columns, target.spacing, 0.0)
    rows_done = np.ascontiguousarray((vertical @ field).T)
    return np.ascontiguousarray((horizontal @ rows_done).T)


@lru_cache(maxsize=256)
def _weights(n_in: int, h_in: float, start_in: float, n_out: int, h_out: float, start_out: float) -> csr_array:
    """Interpolation matrix (n_out, n_in) of one axis; edges are replicated."""
    centre = (start_out - start_in + (np.arange(n_out) + 0.5) * h_out) / h_in - 0.5
    stretch = max(1.0, h_out / h_in)
    reach = int(np.ceil(2 * stretch))
    tap = np.floor(centre)[:, None].astype(np.int64) + np.arange(1 - reach, reach + 1)[None, :]
    weight = _catmull_rom(np.abs(tap - centre[:, None]) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(n_out), tap.shape[1])
    column = np.clip(tap, 0, n_in - 1).ravel()
    matrix = csr_array((weight.ravel().astype(np.float32), (row, column)), shape=(n_out, n_in))
    matrix.sum_duplicates()
    return matrix


def _catmull_rom(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
