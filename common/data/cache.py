"""Keeps prepared images on disk, named after their content, so that no file is decoded twice."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.atomic import write_bytes, write_text
from common.configuration import ImagingConfig
from common.errors import UnreadableImageError
from common.imaging.geometry import Geometry, from_json
from common.imaging.preprocessing import PREPROCESSING_VERSION, prepare_image


@dataclass(frozen=True)
class CachedImage:
    """A prepared image: memory-mapped float16 ``(height, width)`` and its geometry."""

    pixels: npt.NDArray[np.float16]
    geometry: Geometry


class ImageCache:
    """Prepared images of one site under one imaging configuration.

    An entry is named by SHA-256 over the file's bytes, the laterality, the manifest's spacing, the
    imaging settings and ``PREPROCESSING_VERSION``. Entries are written atomically: several processes may
    share a cache, and a damaged entry is made anew.
    """

    def __init__(self, folder: Path, imaging: ImagingConfig) -> None:
        self._folder, self._imaging = folder, imaging
        self._settings = json.dumps([PREPROCESSING_VERSION, asdict(imaging)], sort_keys=True)

    def get(self, path: Path, laterality: str, spacing_mm: float | None = None) -> CachedImage:
        """Look an image up, or prepare and keep it.

        Raises:
            UnreadableImageError, NoBreastFoundError, ManifestError: from ``prepare_image``.
            StorageError: the cache cannot be written.
        """
        entry = self._folder / self._key(path, laterality, spacing_mm)
        cached = self._load(entry)
        if cached is None:
            prepared = prepare_image(path, laterality, self._imaging, spacing_mm)
            array = io.BytesIO()
            np.save(array, prepared.pixels.astype(np.float16))
            write_text(entry.with_suffix(".json"), prepared.geometry.to_json())
            write_bytes(entry.with_suffix(".npy"), array.getvalue())
            cached = self._load(entry)
        if cached is None:
            raise UnreadableImageError("a cache entry cannot be read back", where=str(entry), do="check the disk")
        return cached

    def _key(self, path: Path, laterality: str, spacing_mm: float | None) -> str:
        try:
            sha = hashlib.sha256(path.read_bytes())
        except OSError as error:
            raise UnreadableImageError(
                f"cannot read the image: {error.strerror}", where=str(path), do="restore the file or remove its row"
            ) from error
        sha.update(f"{laterality}|{spacing_mm}|{self._settings}".encode())
        name = sha.hexdigest()
        return f"{name[:2]}/{name}"

    def _load(self, entry: Path) -> CachedImage | None:
        try:
            pixels = np.load(entry.with_suffix(".npy"), mmap_mode="r")
            geometry = from_json(entry.with_suffix(".json").read_text())
        except (OSError, ValueError, TypeError, KeyError, EOFError):
            return None  # not there yet, or damaged: made anew
        fits = pixels.shape == (self._imaging.height, self._imaging.width) and pixels.dtype == np.float16
        return CachedImage(pixels, geometry) if fits else None
