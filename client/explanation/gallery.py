"""Pictures for the site's own gallery: the view with the doctor's box, beside it the model's map."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw

from common.metrics.explanation import HasBounds

HEIGHT = 420
GAP = 6
GAP_COLOUR = (72, 72, 78)
BOX_COLOUR = (86, 180, 233)
"""Sky blue of Okabe & Ito 2008: apart from grey and from the map's colours for colour-blind readers too."""
OPACITY = 0.75

Map = npt.NDArray[np.float32]


def draw_gallery_picture(image: Map, found: Map, boxes: Sequence[HasBounds]) -> bytes:
    """Draw a view beside itself with its map; boxes outlined on both.

    Args:
        image: ``(H, W)``, prepared: its minimum outside the breast.
        found: ``(H, W)``, 0 or more; the colours span 0 to its maximum.
        boxes: in pixels of the image.

    Returns:
        A PNG, 420 pixels high.
    """
    size = (max(1, round(image.shape[1] * HEIGHT / image.shape[0])), HEIGHT)
    plain = _resized(_windowed(image), size)
    heat = _resized(found / found.max() if found.max() > 0.0 else np.zeros_like(found), size)
    grey = np.repeat(plain[:, :, None], 3, axis=2)
    opacity = OPACITY * heat[:, :, None]
    blended = (1.0 - opacity) * grey + opacity * colormaps["inferno"](heat)[:, :, :3]
    picture = Image.new("RGB", (2 * size[0] + GAP, HEIGHT), GAP_COLOUR)
    for pixels, left in ((grey, 0), (blended, size[0] + GAP)):
        panel = Image.fromarray((255.0 * pixels + 0.5).astype(np.uint8))
        _outline(panel, boxes, HEIGHT / image.shape[0])
        picture.paste(panel, (left, 0))
    file = BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _windowed(image: Map) -> Map:
    """Grey 0..1: the breast between its 1st and 99.5th percentile, black outside."""
    breast = image > image.min()
    if not breast.any():
        return np.zeros_like(image)
    low, high = np.percentile(image[breast], (1.0, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)
    return np.where(breast, 0.06 + 0.94 * grey, 0.0).astype(np.float32)


def _resized(values: Map, size: tuple[int, int]) -> Map:
    """Bilinear, 0..1."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))


def _outline(panel: Image.Image, boxes: Sequence[HasBounds], scale: float) -> None:
    """Draw the boxes just outside what they hold, light on dark, so that they show on any ground."""
    draw = ImageDraw.Draw(panel)
    for box in boxes:
        x0, y0, x1, y1 = (round(scale * edge) for edge in (box.x0, box.y0, box.x1, box.y1))
        draw.rectangle((x0 - 3, y0 - 3, max(x1, x0) + 3, max(y1, y0) + 3), outline=(0, 0, 0), width=4)
        draw.rectangle((x0 - 2, y0 - 2, max(x1, x0) + 2, max(y1, y0) + 2), outline=BOX_COLOUR, width=2)
