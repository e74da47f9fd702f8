"""Pictures for the site's own gallery: the view with the doctor's box, beside it the model's map."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from PIL import Image

from client.pictures import Map, outline_boxes, resized, windowed
from common.metrics.explanation import HasBounds

HEIGHT = 420
GAP = 6
GAP_COLOUR = (72, 72, 78)
OPACITY = 0.75


def draw_gallery_picture(image: Map, found: Map, boxes: Sequence[HasBounds]) -> bytes:
    """Draw a view beside itself with its map; boxes outlined on both.

    Args:
        image: ``(H, W)``, prepared: its minimum outside the breast.
        found: ``(H, W)``; the colours span 0 to its maximum, what is negative stays as it is.
        boxes: in pixels of the image.

    Returns:
        A PNG, 420 pixels high.
    """
    size = (max(1, round(image.shape[1] * HEIGHT / image.shape[0])), HEIGHT)
    plain = resized(windowed(image), size)
    heat = resized(np.maximum(found / found.max(), 0.0) if found.max() > 0.0 else np.zeros_like(found), size)
    grey = np.repeat(plain[:, :, None], 3, axis=2)
    opacity = OPACITY * heat[:, :, None]
    blended = (1.0 - opacity) * grey + opacity * colormaps["inferno"](heat)[:, :, :3]
    picture = Image.new("RGB", (2 * size[0] + GAP, HEIGHT), GAP_COLOUR)
    for pixels, left in ((grey, 0), (blended, size[0] + GAP)):
        panel = Image.fromarray((255.0 * pixels + 0.5).astype(np.uint8))
        outline_boxes(panel, boxes, HEIGHT / image.shape[0])
        picture.paste(panel, (left, 0))
    file = BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
