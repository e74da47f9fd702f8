"""A PNG of each view of a case: the original beside itself with the map, the doctors' boxes and a detector's marks."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from client.explanation.case.case import Case, CaseMark, CaseView, picture_name
from client.explanation.case.page import heat
from client.pictures import outline_boxes
from common.imaging.box import Box

OPACITY = 0.7
MARK_COLOUR = (124, 252, 154)
"""A light green: apart from the doctors' blue, and from everything in the map's colours."""


def pictures_of(case: Case, method: str) -> dict[str, bytes]:
    """Draw the views of a case, by ``picture_name``; ``method`` made the maps."""
    found = {}
    for item in case.breasts:
        largest = [float(view.maps[method].max()) for view in item.views]
        for number, view in enumerate(item.views, 1):
            # The maps of a detector's marks explain one mark each, and do not compare across views.
            scale = largest[number - 1] if view.marks else max(largest)
            found[picture_name(item, number)] = _picture(view, method, scale)
    return found


def _picture(view: CaseView, method: str, scale: float) -> bytes:
    grey = Image.fromarray((255.0 * view.grey + 0.5).astype(np.uint8)).convert("RGB")
    warm = heat(view.maps[method], scale)
    warm[..., 3] = (OPACITY * warm[..., 3]).astype(np.uint8)
    over = grey.copy()
    over.paste(Image.fromarray(warm, "RGBA"), (0, 0), Image.fromarray(warm[..., 3]))
    outline_boxes(over, [Box(*corners) for corners in view.boxes or ()], 1.0)
    _draw_marks(over, view.marks)
    both = Image.new("RGB", (2 * grey.width, grey.height))
    both.paste(grey, (0, 0))
    both.paste(over, (grey.width, 0))
    stream = io.BytesIO()
    both.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_marks(panel: Image.Image, marks: Sequence[CaseMark]) -> None:
    """Outline marks, with number and score above each."""
    outline_boxes(panel, [Box(*mark.shown) for mark in marks], 1.0, MARK_COLOUR)
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(max(11, panel.height // 45))
    for number, mark in enumerate(marks, 1):
        words = f"{number}: {mark.score:.2f}"
        left, _, right, bottom = draw.textbbox((0, 0), words, font=font)
        x = min(max(mark.shown[0] - 2, 0), panel.width - (right - left) - 2)
        above = mark.shown[1] - bottom - 6
        y = above if above >= 0 else mark.shown[3] + 4
        draw.text((x, y), words, fill=MARK_COLOUR, font=font, stroke_width=2, stroke_fill=(0, 0, 0))
