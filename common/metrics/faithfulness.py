"""Does a map say what the model used: change the image where the map points, and watch the score.

Pixels are replaced by the breast's own tissue, smoothed, not by black: a hole is evidence too, and
networks have never seen one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from common.metrics.explanation import Map, Mask, descending

Images = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Score = Callable[[Images], Floats]
"""Images ``(N, H, W)`` to the model's probabilities or logits ``(N,)``."""
Explainer = Callable[[Images], npt.NDArray[np.float32]]
"""Images ``(N, H, W)`` to maps ``(N, H, W)``."""


@dataclass(frozen=True)
class PixelFlipping:
    """Areas under the score over the share of tissue that was taken away, or put back."""

    deletion: float
    """The hottest tissue goes first: low is good."""
    insertion: float
    """The hottest tissue comes back first: high is good."""


def tissue_baseline(image: Map, tissue: Mask, share: float = 1 / 16, hidden: Mask | None = None) -> Map:
    """The image with its tissue smoothed until no lesion is left; air, and the breast's outline, stay.

    Args:
        image: ``(H, W)``.
        tissue: ``(H, W)``; air is not smoothed in.
        share: standard deviation of the Gaussian, as a share of the image's height.
        hidden: ``(H, W)``, tissue that is not smoothed in either, as what is to vanish.
    """
    sigma = share * image.shape[0]
    known = tissue if hidden is None else tissue & ~hidden
    weight = gaussian_filter(known.astype(np.float64), sigma)
    smooth = gaussian_filter(np.where(known, image, 0.0).astype(np.float64), sigma)
    middle = float(np.median(image[known])) if known.any() else 0.0
    near = np.where(weight > 1e-6, smooth / np.maximum(weight, 1e-6), middle)
    return np.where(tissue, near, image).astype(np.float32)


def pixel_flipping(score: Score, image: Map, found: Map, tissue: Mask, steps: int = 16, seed: int = 0) -> PixelFlipping:
    """Deletion and insertion of the tissue in the order of the map, in steps that are fine at the beginning.

    Args:
        score: of images.
        image: ``(H, W)``.
        found: ``(H, W)``; equal values are taken in random order.
        tissue: ``(H, W)``, pixels that are taken away or put back; 0 steps of change without any.
        steps: the shares of tissue are (k / steps)^2: a lesion is a few per cent of a breast.
        seed: of the order of equal values.

    Source: Petsiuk et al. 2018, "RISE", section 4.3.
    """
    places = np.flatnonzero(tissue)
    order = places[descending(found.ravel()[places], seed)]
    shares = (np.arange(steps + 1) / steps) ** 2
    plain, without = image.ravel(), tissue_baseline(image, tissue).ravel()
    deleted, inserted = np.tile(plain, (steps + 1, 1)), np.tile(without, (steps + 1, 1))
    for number, share in enumerate(shares):
        some = order[: round(share * len(order))]
        deleted[number, some], inserted[number, some] = without[some], plain[some]
    scores = score(np.concatenate([deleted, inserted]).reshape(-1, *image.shape))
    down, up = scores[: steps + 1], scores[steps + 1 :]
    return PixelFlipping(float(np.trapezoid(down, shares)), float(np.trapezoid(up, shares)))


def faithfulness_correlation(
    score: Score,
    image: Map,
    found: Map,
    tissue: Mask,
    *,
    subsets: int = 64,
    share: float = 0.2,
    cell: int = 8,
    seed: int = 0,
) -> float:
    """Do parts of the breast matter to the score as much as the map says: Pearson's correlation over random parts.

    Args:
        score: of images.
        image: ``(H, W)``.
        found: ``(H, W)``.
        tissue: ``(H, W)``; only tissue is replaced.
        subsets: how many random parts.
        share: of the cells that hold tissue, in one part.
        cell: edge of the square cells that parts are made of, pixels; single pixels would only be noise.
        seed: of the parts.

    Returns:
        -1 to 1; 0 where the map's sums or the scores do not vary.

    Source: Bhatt, Weller & Moura 2020, "Evaluating and aggregating feature-based model explanations", definition 3.
    """
    rows, columns = np.indices(image.shape) // cell
    numbers = rows * (columns.max() + 1) + columns
    cells = np.unique(numbers[tissue])
    if not len(cells):
        return 0.0
    random, size = np.random.default_rng(seed), max(1, round(share * len(cells)))
    without = tissue_baseline(image, tissue)
    parts = np.stack([tissue & np.isin(numbers, random.choice(cells, size, replace=False)) for _ in range(subsets)])
    changed = np.where(parts, without, image)
    scores = score(np.concatenate([image[None], changed]).astype(np.float32))
    sums = np.array([found[part].sum(dtype=np.float64) for part in parts])
    drops = scores[0] - scores[1:]
    if np.ptp(sums) == 0.0 or np.ptp(drops) == 0.0:
        return 0.0
    return float(np.corrcoef(sums, drops)[0, 1])


def sensitivity(
    explain: Explainer, image: Map, found: Map, tissue: Mask, *, radius: float = 0.05, draws: int = 8, seed: int = 0
) -> float:
    """Largest relative change of the map when the tissue changes by a little noise; 0 is best.

    Args:
        explain: the explainer.
        image: ``(H, W)``.
        found: ``(H, W)``, its map of the image.
        tissue: ``(H, W)``; only tissue gets noise.
        radius: of the uniform noise, in standard deviations of the tissue.
        draws: of the noise.
        seed: of the noise.

    Returns:
        Euclidean length of the change over that of the map; NaN for a map that is 0 everywhere.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 3 (SENS-MAX), relative.
    """
    length = float(np.linalg.norm(found))
    if length == 0.0:
        return float("nan")
    reach = radius * float(image[tissue].std()) if tissue.any() else 0.0
    noise = np.random.default_rng(seed).uniform(-reach, reach, (draws, *image.shape))
    changed = explain((image + np.where(tissue, noise, 0.0)).astype(np.float32))
    return float(max(np.linalg.norm(other - found) for other in changed) / length)
