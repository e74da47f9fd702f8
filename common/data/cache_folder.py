"""The cache as a folder: how large it is, what is in it, and how it is kept within its bound."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from common.data.cache import NOTE, CachedImage
from common.errors import StorageError

RECENT_SECONDS = 24 * 3600.0
"""Entries used in this time stay whatever the bound: another process may be training on them."""


@dataclass(frozen=True)
class CacheUsage:
    """What a cache holds. ``settings`` counts entries by the imaging settings they were made with."""

    entries: int
    bytes: int
    settings: dict[str, int]
    free_bytes: int
    """Of the disk."""


@dataclass(frozen=True)
class _Entry:
    pixels: Path
    note: Path
    bytes: int
    used: float
    """Time of last use, seconds since 1970."""


def usage(folder: Path) -> CacheUsage:
    """Look through a cache; damaged entries count as ``damaged``."""
    settings: Counter[str] = Counter()
    size = entries = 0
    for entry in _entries(folder):
        entries += 1
        size += entry.bytes
        settings[_settings(entry.note)] += 1
    return CacheUsage(entries, size, dict(settings.most_common()), free_bytes(folder))


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that holds ``folder`` or will hold it."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free


def clear(folder: Path) -> CacheUsage:
    """Delete a cache; it is made anew when it is needed. Returns what was in it.

    Raises:
        StorageError: it cannot be deleted.
    """
    before = usage(folder)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageError(
            f"cannot delete the cache: {error.strerror or error}", where=str(folder), do="check its permissions"
        ) from error
    return before


def prune(folder: Path, limit_bytes: int, keep: Iterable[CachedImage]) -> int:
    """Delete entries that were not used for longest until the cache is within its bound.

    Args:
        folder: the cache.
        limit_bytes: its bound.
        keep: entries in use; like those used within a day they stay.

    Returns:
        Number of entries deleted.

    Raises:
        StorageError: what is in use is alone larger than the bound.
    """
    entries = sorted(_entries(folder), key=lambda entry: entry.used)
    size = sum(entry.bytes for entry in entries)
    if size <= limit_bytes:
        return 0
    kept = {image.file for image in keep}
    needed = sum(entry.bytes for entry in entries if entry.pixels in kept)
    if needed > limit_bytes:
        raise StorageError(
            f"the prepared images of this run take {gigabytes(needed)}, the cache may take {gigabytes(limit_bytes)}",
            where=str(folder),
            do="raise the bound of the cache, or choose smaller images (imaging.height, imaging.width)",
        )
    deleted = 0
    for entry in entries:
        if size <= limit_bytes:
            break
        if entry.pixels in kept or time.time() - entry.used < RECENT_SECONDS:
            continue
        entry.note.unlink(missing_ok=True)
        entry.pixels.unlink(missing_ok=True)
        size -= entry.bytes
        deleted += 1
    return deleted


def gigabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _entries(folder: Path) -> Iterator[_Entry]:
    for pixels in folder.glob("??/*.npy"):
        note = pixels.with_suffix(".json")
        try:
            array, text = pixels.stat(), note.stat()
        except OSError:
            continue  # half written by another process, or just deleted
        yield _Entry(pixels, note, array.st_size + text.st_size, text.st_mtime)


def _settings(note: Path) -> str:
    try:
        imaging = NOTE.validate_json(note.read_bytes()).imaging
    except (OSError, ValidationError):
        return "damaged"
    scale = f", {imaging.spacing_mm:g} mm" if imaging.spacing_mm else ""
    return f"{imaging.height} x {imaging.width}{scale}, {imaging.harmonisation}, version {imaging.version}"
