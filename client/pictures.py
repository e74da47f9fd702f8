"""Pictures of prepared views for people at the site: grey values, and boxes drawn on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from common.metrics.explanation import HasBounds

BOX_COLOUR = (86, 180, 233)
"""Sky blue of Okabe & Ito 2008: apart from grey and from the map's colours for colour-blind readers too."""

Map = npt.NDArray[np.float32]


def windowed(image: Map) -> Map:
    """Grey 0..1: the breast between its 1st and 99.5th percentile, black outside."""
    breast = image > image.min()
    if not breast.any():
        return np.zeros_like(image)
    low, high = np.percentile(image[breast], (1.0, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)
    return np.where(breast, 0.06 + 0.94 * grey, 0.0).astype(np.float32)


def resized(values: Map, size: tuple[int, int]) -> Map:
    """Bilinear, 0..1."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))


def outline_boxes(
    panel: Image.Image, boxes: Sequence[HasBounds], scale: float, colour: tuple[int, int, int] = BOX_COLOUR
) -> None:
    """Draw the boxes just outside what they hold, light on dark, so that they show on any ground."""
    draw = ImageDraw.Draw(panel)
    for box in boxes:
        x0, y0, x1, y1 = (round(scale * edge) for edge in (box.x0, box.y0, box.x1, box.y1))
        draw.rectangle((x0 - 3, y0 - 3, max(x1, x0) + 3, max(y1, y0) + 3), outline=(0, 0, 0), width=4)
        draw.rectangle((x0 - 2, y0 - 2, max(x1, x0) + 2, max(y1, y0) + 2), outline=colour, width=2)
