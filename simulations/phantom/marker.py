"""The lead marker with laterality and view, burnt into the air beside the breast after mirroring."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from simulations.phantom.patient import Laterality, ViewName
from simulations.phantom.sites import Acquisition


def burn_marker(stored: NDArray[np.uint16], laterality: Laterality, view: ViewName, acquisition: Acquisition) -> None:
    """Write e.g. ``L-CC`` into the upper corner away from the chest wall, in place."""
    rows, columns = stored.shape
    letters = _letters(f"{laterality}-{view}", max(8, rows // 32))
    height, width = letters.shape
    top, gap = rows // 24, columns // 48
    left = columns - gap - width if laterality == "L" else gap
    full = 2**acquisition.bits - 1
    dark_stored = acquisition.photometric == "MONOCHROME1"
    bright = acquisition.offset + (0.0 if dark_stored else acquisition.span * full)
    stored[top : top + height, left : left + width][letters] = np.uint16(bright)


@lru_cache(maxsize=64)
def _letters(text: str, size: int) -> NDArray[np.bool_]:
    font = ImageFont.load_default(size)
    box = font.getbbox(text)
    canvas = Image.new("L", (int(np.ceil(box[2])) + 2, int(np.ceil(box[3])) + 2))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=font)
    return np.asarray(canvas) > 127
