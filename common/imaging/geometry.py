"""Where a pixel of the stored image lies in the network's input, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.imaging.box import Box
from common.imaging.resampling import resample

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    """The way from stored image to input: crop, mirror, scale, place.

    ``crop`` is x0, y0, x1, y1 in stored pixels, inside the image; it is mirrored left to right when ``mirrored``,
    scaled to ``placed`` (rows, columns) and put at row ``top``, column 0 of the input.
    """

    stored_rows: int
    stored_columns: int
    crop: tuple[int, int, int, int]
    mirrored: bool
    inverted: bool
    rows: int
    columns: int
    placed: tuple[int, int]
    top: int

    def boxes_to_input(self, boxes: Sequence[Box]) -> list[Box]:
        """Boxes in pixels of the input; parts outside the crop are cut off, boxes wholly outside left out."""
        x0, y0, x1, y1 = self.crop
        horizontal, vertical = self.placed[1] / (x1 - x0), self.placed[0] / (y1 - y0)
        result = []
        for box in boxes:
            left, right = (x1 - box.x1, x1 - box.x0) if self.mirrored else (box.x0 - x0, box.x1 - x0)
            found = Box(
                max(0.0, left * horizontal),
                self.top + max(0.0, (box.y0 - y0) * vertical),
                min(float(self.placed[1]), right * horizontal),
                self.top + min(float(self.placed[0]), (box.y1 - y0) * vertical),
                box.label,
            )
            if found.x1 > found.x0 and found.y1 > found.y0:
                result.append(found)
        return result

    def points_to_stored(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Points ``(N, 2)``, x and y in pixels of the input, in pixels of the stored image; kept inside the crop."""
        x0, y0, x1, y1 = self.crop
        across = np.clip(points[:, 0] * (x1 - x0) / self.placed[1], 0, x1 - x0)
        down = np.clip((points[:, 1] - self.top) * (y1 - y0) / self.placed[0], 0, y1 - y0)
        return np.stack([x1 - across if self.mirrored else x0 + across, y0 + down], axis=1)

    def map_to_stored(self, values: Pixels) -> Pixels:
        """A map ``(rows, columns)`` of the input as ``(stored_rows, stored_columns)``; 0 outside the crop."""
        stored = np.zeros((self.stored_rows, self.stored_columns), dtype=np.float32)
        x0, y0, x1, y1 = self.crop
        part = values[self.top : self.top + self.placed[0], : self.placed[1]]
        part = resample(part, y1 - y0, x1 - x0)
        stored[y0:y1, x0:x1] = part[:, ::-1] if self.mirrored else part
        return stored
