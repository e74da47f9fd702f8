"""The site's cache of prepared images, in lines for a terminal."""

from __future__ import annotations

from pathlib import Path

from common.data.cache_folder import clear, gigabytes, usage


def describe_cache(folder: Path) -> str:
    """How many prepared images there are, under which settings, and what they take."""
    found = usage(folder)
    lines = [
        f"cache      {folder}",
        f"images     {found.entries}, {gigabytes(found.bytes)}; {gigabytes(found.free_bytes)} free on the disk",
        *(f"           {number} of {settings}" for settings, number in found.settings.items()),
    ]
    return "\n".join(lines)


def clear_cache(folder: Path) -> str:
    """Delete the prepared images and say how many there were."""
    before = clear(folder)
    return f"deleted {before.entries} prepared images, {gigabytes(before.bytes)}"
