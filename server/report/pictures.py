"""Gallery pictures as data URIs, within a budget so that the report stays small enough to mail."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from server.report.run_folder import Picture

TOTAL_BYTES = 3_500_000
"""Of all pictures of a report, before base64 adds a third."""
_KEEP_BYTES = 60_000
_LONGEST_SIDE = 640
_READABLE = ("PNG", "JPEG")


@dataclass(frozen=True)
class Shown:
    """A picture ready for the page."""

    picture: Picture
    source: str
    """``data:`` URI."""


@dataclass(frozen=True)
class Gallery:
    """What of a site's gallery the page shows, and what it does not."""

    shown: list[Shown]
    beyond_budget: int
    unreadable: int


def embed(folder: Path, pictures: list[Picture], budget: int) -> Gallery:
    """Encode a site's pictures until its byte budget is spent.

    Args:
        folder: where the files lie.
        pictures: in the order to be shown.
        budget: bytes for this site.
    """
    shown: list[Shown] = []
    unreadable = spent = 0
    for place, picture in enumerate(pictures):
        try:
            data, kind = _encoded(folder / picture.file)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError):
            unreadable += 1
            continue
        if spent + len(data) > budget:
            return Gallery(shown, len(pictures) - place, unreadable)
        spent += len(data)
        shown.append(Shown(picture, f"data:image/{kind};base64,{base64.b64encode(data).decode()}"))
    return Gallery(shown, 0, unreadable)


def _encoded(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    with Image.open(io.BytesIO(data), formats=_READABLE) as image:
        image.load()
        if len(data) <= _KEEP_BYTES:
            return data, (image.format or "PNG").lower()
        small = image.convert("RGB")
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=86, subsampling=0)
        return stream.getvalue(), "jpeg"
