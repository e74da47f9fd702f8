"""The whole way from an image file to the array a network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.configuration import ImagingConfig
from common.errors import ManifestError, NoBreastFoundError
from common.imaging.breast import BreastRegion, find_breast
from common.imaging.facts import ImageFacts, pixel_facts
from common.imaging.geometry import Geometry
from common.imaging.harmonise import OUTSIDE, harmonise
from common.imaging.polarity import is_inverted
from common.imaging.reading import StoredImage, read_image
from common.imaging.resampling import resample

MARGIN = 0.01
"""Air kept around the breast, share of its longer side."""

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PreparedImage:
    """What a network sees.

    ``pixels``: float32 ``(height, width)``, chest wall at the left edge, dense tissue bright, -3 outside
    the breast. ``spacing_mm``: of these pixels (row, column), where known.
    """

    pixels: Pixels
    geometry: Geometry
    spacing_mm: tuple[float, float] | None
    facts: ImageFacts


def prepare_image(
    path: Path, laterality: str, imaging: ImagingConfig, spacing_mm: float | None = None
) -> PreparedImage:
    """Read, set upright, crop, resample and harmonise one image.

    Args:
        path: image file.
        laterality: ``L`` or ``R``.
        imaging: size or spacing, and harmonisation.
        spacing_mm: spacing of the stored pixels where the file itself does not say.

    Raises:
        UnreadableImageError: the file cannot be decoded.
        NoBreastFoundError: the image is blank.
        ManifestError: a fixed spacing is asked for and that of the image is not known.
    """
    stored = read_image(path)
    seems_inverted = is_inverted(stored.pixels)
    inverted = seems_inverted and not stored.polarity_known
    upright = 1.0 - stored.pixels if inverted else stored.pixels
    breast = find_breast(upright, laterality)
    if breast is None:
        raise NoBreastFoundError(
            "no breast can be found in the image",
            where=str(path),
            do="look at the file; remove its row, or set data.unreadable=skip",
        )
    spacing = stored.spacing_mm or ((spacing_mm, spacing_mm) if spacing_mm else None)
    geometry = _geometry(stored, breast, imaging, spacing, inverted, path)
    pixels = _place(upright, breast, geometry, imaging)
    shown = pixel_facts(stored.pixels, seems_inverted, stored.polarity_known, breast.mask)
    return PreparedImage(pixels, geometry, _input_spacing(geometry, spacing), ImageFacts(stored.facts, shown))


def _geometry(
    stored: StoredImage,
    breast: BreastRegion,
    imaging: ImagingConfig,
    spacing: tuple[float, float] | None,
    inverted: bool,
    path: Path,
) -> Geometry:
    rows, columns = stored.pixels.shape
    x0, y0, x1, y1 = breast.bounds
    mirrored = breast.chest_wall == "right"
    margin = MARGIN * max(x1 - x0, y1 - y0)
    top, bottom = max(0.0, y0 - margin), min(float(rows), y1 + margin)
    left = float(x0) if not mirrored else max(0.0, x0 - margin)
    right = float(x1) if mirrored else min(float(columns), x1 + margin)
    if imaging.spacing_mm is not None:
        if spacing is None:
            raise ManifestError(
                "the pixel spacing of the image is not known",
                where=str(path),
                do="fill the column spacing_mm of the manifest, or set imaging.spacing_mm=null",
            )
        vertical, horizontal = spacing[0] / imaging.spacing_mm, spacing[1] / imaging.spacing_mm
        top, bottom = _within((top, bottom), imaging.height / vertical)
        width = min(right - left, imaging.width / horizontal)
        left, right = (right - width, right) if mirrored else (left, left + width)
    else:
        aspect = spacing[0] / spacing[1] if spacing else 1.0  # rows may lie farther apart than columns
        horizontal = min(imaging.height / ((bottom - top) * aspect), imaging.width / (right - left))
        vertical = horizontal * aspect
    # Whole pixels, so that maps go back to the very pixels they came from.
    crop = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    placed = (
        min(imaging.height, max(1, round((crop[3] - crop[1]) * vertical))),
        min(imaging.width, max(1, round((crop[2] - crop[0]) * horizontal))),
    )
    return Geometry(
        rows,
        columns,
        crop,
        mirrored,
        inverted,
        imaging.height,
        imaging.width,
        placed,
        (imaging.height - placed[0]) // 2,
    )


def _within(span: tuple[float, float], length: float) -> tuple[float, float]:
    """Shorten a span to ``length`` around its middle."""
    excess = max(0.0, span[1] - span[0] - length) / 2
    return span[0] + excess, span[1] - excess


def _place(upright: Pixels, breast: BreastRegion, geometry: Geometry, imaging: ImagingConfig) -> Pixels:
    """Resample the crop, harmonise it inside the breast and put it into the frame."""
    part = resample(upright, *geometry.placed, region=geometry.crop)
    vertical = breast.mask.shape[0] / geometry.stored_rows
    horizontal = breast.mask.shape[1] / geometry.stored_columns
    x0, y0, x1, y1 = geometry.crop
    region = (x0 * horizontal, y0 * vertical, x1 * horizontal, y1 * vertical)
    mask = ndimage.binary_dilation(breast.mask).astype(np.float32)
    inside = resample(mask, *geometry.placed, region=region) > 0.5
    if geometry.mirrored:
        part, inside = part[:, ::-1], inside[:, ::-1]
    frame = (geometry.rows, geometry.columns)
    part = harmonise(part, inside, imaging.harmonisation, imaging.standard_scale, frame)
    pixels = np.full((geometry.rows, geometry.columns), OUTSIDE, dtype=np.float32)
    pixels[geometry.top : geometry.top + geometry.placed[0], : geometry.placed[1]] = part
    return pixels


def _input_spacing(geometry: Geometry, spacing: tuple[float, float] | None) -> tuple[float, float] | None:
    if spacing is None:
        return None
    x0, y0, x1, y1 = geometry.crop
    return spacing[0] * (y1 - y0) / geometry.placed[0], spacing[1] * (x1 - x0) / geometry.placed[1]
