"""Keeps prepared images on disk, named after their content, so that no file is decoded twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from common.atomic import write_bytes, write_text
from common.configuration import ImagingConfig
from common.errors import UnreadableImageError
from common.imaging.facts import ImageFacts
from common.imaging.geometry import Geometry
from common.imaging.preprocessing import prepare_image

DIGEST = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class EntryNote:
    """What lies beside the pixels of an entry, as JSON."""

    imaging: ImagingConfig
    geometry: Geometry
    facts: ImageFacts


NOTE = TypeAdapter(EntryNote)


@dataclass(frozen=True)
class CachedImage:
    """A prepared image on disk, its geometry and facts; small, so that a site may have very many."""

    file: Path
    geometry: Geometry
    facts: ImageFacts

    @property
    def pixels(self) -> npt.NDArray[np.float16]:
        """Memory-mapped float16 ``(height, width)``; mapped as long as the array lives."""
        return np.asanyarray(np.load(self.file, mmap_mode="r"))


class ImageCache:
    """Prepared images of one site under one imaging configuration.

    An entry is named by SHA-256 over the file's bytes, the laterality, the manifest's spacing and the
    imaging settings with their version. The time of change of its JSON file says when it was used
    last. A note under ``sources`` keeps the digest of each file seen (by path, size and time of
    change), so that unchanged files are not read again. All is written atomically: several processes
    may share a cache, and a damaged entry is made anew.
    """

    def __init__(self, folder: Path, imaging: ImagingConfig) -> None:
        self._folder, self._imaging = folder, imaging
        named = asdict(imaging)
        if not imaging.standard_scale:  # entries of before there was such a setting stay valid
            del named["standard_scale"]
        self._settings = json.dumps(named, sort_keys=True)

    def get(self, path: Path, laterality: str, spacing_mm: float | None = None) -> CachedImage:
        """Look an image up, or prepare and keep it.

        Raises:
            UnreadableImageError, NoBreastFoundError, ManifestError: from ``prepare_image``.
            StorageError: the cache cannot be written.
        """
        digest = self._digest(path)
        name = hashlib.sha256(f"{digest}|{laterality}|{spacing_mm}|{self._settings}".encode()).hexdigest()
        entry = self._folder / name[:2] / name
        cached = self._load(entry)
        if cached is None:
            prepared = prepare_image(path, laterality, self._imaging, spacing_mm)
            array = io.BytesIO()
            np.save(array, prepared.pixels.astype(np.float16))
            note = EntryNote(self._imaging, prepared.geometry, prepared.facts)
            write_bytes(entry.with_suffix(".json"), NOTE.dump_json(note))
            write_bytes(entry.with_suffix(".npy"), array.getvalue())
            cached = self._load(entry)
        if cached is None:
            raise UnreadableImageError("a cache entry cannot be read back", where=str(entry), do="check the disk")
        return cached

    def _digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes, remembered while path, size and time of change stay the same."""
        try:
            state = path.stat()
            seen = hashlib.sha256(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()
            note = self._folder / "sources" / seen[:2] / seen
            known = note.read_bytes() if note.is_file() else b""
            if DIGEST.fullmatch(known):  # two notes full of zeros after a power cut must not name one picture
                return known.decode()
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableImageError(
                f"cannot read the image: {error.strerror}", where=str(path), do="restore the file or remove its row"
            ) from error
        write_text(note, digest)
        return digest

    def _load(self, entry: Path) -> CachedImage | None:
        note_file = entry.with_suffix(".json")
        try:
            note = NOTE.validate_json(note_file.read_bytes())
            image = CachedImage(entry.with_suffix(".npy"), note.geometry, note.facts)
            pixels = image.pixels
            os.utime(note_file)
        except (OSError, ValueError, TypeError, EOFError, ValidationError):
            return None  # not there yet, or damaged: made anew
        fits = pixels.shape == (self._imaging.height, self._imaging.width) and pixels.dtype == np.float16
        return image if fits else None
