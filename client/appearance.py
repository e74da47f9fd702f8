"""What a site's images look like, in means over its images: what it adds to a run's scale, and quantiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from common.comparison import LEVELS
from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.imaging.harmonise import OUTSIDE, statistics
from common.protocol import ScaleReport

Floats = npt.NDArray[np.float64]


def scale_of(training: SiteData, method: str, minimum: int) -> ScaleReport:
    """A site's part of the scale: the mean over its training images.

    Args:
        training: images as stored (``common.data.scale.as_stored``).
        method: ``landmarks`` or ``amplitude``.
        minimum: with fewer patients nothing is told.
    """
    if training.patients < minimum:
        return ScaleReport(0, 0, [])
    found = [statistics(*tissue(image), method) for image in images_of(training)]
    return ScaleReport(training.patients, len(found), [float(value) for value in np.mean(found, axis=0)])


def tissue(image: CachedImage) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Grey values ``(H, W)`` 0..1 of an image that was prepared as stored, and where its breast is."""
    prepared = np.asarray(image.pixels, dtype=np.float32)
    return (prepared + 1.0) / 4.0, prepared > OUTSIDE


def mean_quantiles(images: Iterable[npt.NDArray[Any]]) -> list[float]:
    """Quantiles at :data:`common.comparison.LEVELS`, each a mean over the images.

    Args:
        images: values inside the breast, ``(n,)`` each.
    """
    found = [np.quantile(values, LEVELS) for values in images]
    return [float(value) for value in np.mean(found, axis=0)]


def images_of(data: SiteData) -> Iterator[CachedImage]:
    """Every prepared image of a site."""
    return (image for views in data.views for image in views)
