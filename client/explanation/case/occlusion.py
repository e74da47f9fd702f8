"""What would change the score: parts of a breast are replaced by smooth tissue, and the model is asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.metrics.explanation import Map, Mask
from common.metrics.faithfulness import Score, tissue_baseline

HOT = 0.5
"""A map's hottest region: where it reaches this share of its maximum, around the maximum."""
ELSEWHERE = 8
"""Places over which the control is averaged."""


Remove = Callable[[Map, Mask, Mask], Map]
"""View, its tissue and a region of it to the view without the tissue of that region."""


@dataclass(frozen=True)
class WhatIf:
    """The breast's logit after something was taken away."""

    what: str
    logit: float


def without(image: Map, tissue: Mask, region: Mask) -> Map:
    """The view with the tissue of a region replaced by smooth tissue from around it."""
    return np.where(region, tissue_baseline(image, tissue, hidden=region), image).astype(np.float32)


def hottest_region(found: Map) -> Mask:
    """The connected part of the map that holds its maximum and reaches half of it; empty for an empty map."""
    if found.max() <= 0.0:
        return np.zeros(found.shape, dtype=np.bool_)
    parts, _ = ndimage.label(found >= HOT * found.max())
    return np.asarray(parts == parts[np.unravel_index(int(found.argmax()), found.shape)])


def elsewhere(tissue: Mask, region: Mask, random: np.random.Generator) -> Mask:
    """A disc as large as a region, at a random place of the tissue that does not touch the region.

    It is cut off at the breast's edge like any lesion; where the region leaves no room, it is empty.
    """
    radius = float(np.sqrt(np.count_nonzero(region) / np.pi))
    far = ndimage.distance_transform_edt(~region) > radius if region.any() else np.ones_like(region)
    places = np.argwhere(tissue & far)
    if not len(places) or not region.any():
        return np.zeros_like(region)
    row, column = places[random.integers(len(places))]
    rows, columns = np.indices(tissue.shape)
    return np.asarray(((rows - row) ** 2 + (columns - column) ** 2 <= radius**2) & tissue & ~region)


def what_if(
    score: Score,
    images: npt.NDArray[np.float32],
    tissue: npt.NDArray[np.bool_],
    regions: Sequence[Mask],
    what: str,
    remove: Remove = without,
) -> WhatIf:
    """The breast's logit (mean over its views) with one region a view taken away.

    Args:
        score: logits of views.
        images: ``(views, H, W)``.
        tissue: ``(views, H, W)``.
        regions: one a view; empty where nothing is taken away.
        what: for the reader.
        remove: how tissue is taken away.
    """
    changed = [remove(*parts) for parts in zip(images, tissue, regions, strict=True)]
    return WhatIf(what, float(score(np.stack(changed)).mean()))


def without_regions(
    score: Score,
    images: npt.NDArray[np.float32],
    tissue: npt.NDArray[np.bool_],
    views: Sequence[str],
    regions: Sequence[Mask],
    named: str,
    marked: Sequence[Mask] | None,
    seed: int,
    remove: Remove = without,
) -> list[WhatIf]:
    """Without a region of each view, of all views, without as much tissue elsewhere, and without the doctors' boxes.

    Args:
        score: logits of views.
        images: ``(views, H, W)``.
        tissue: ``(views, H, W)``.
        views: their names.
        regions: one a view; empty where nothing is taken away.
        named: what a region is, for the reader.
        marked: what the doctors marked, one a view; None where they marked nothing.
        seed: of the control's places.
        remove: how tissue is taken away.
    """
    nothing = np.zeros_like(regions[0])
    changes = []
    if len(regions) > 1:
        for place, view in enumerate(views):
            only = [region if here == place else nothing for here, region in enumerate(regions)]
            changes.append(what_if(score, images, tissue, only, f"{named}, {view} only", remove))
    changes.append(what_if(score, images, tissue, regions, f"{named}, every view", remove))
    changes.append(
        control(score, images, tissue, regions, "as much tissue at other places (mean of eight tries)", seed, remove)
    )
    if marked is not None:
        changes.append(what_if(score, images, tissue, marked, "what the doctors marked, every view", remove))
    return changes


def control(
    score: Score,
    images: npt.NDArray[np.float32],
    tissue: npt.NDArray[np.bool_],
    regions: Sequence[Mask],
    what: str,
    seed: int,
    remove: Remove = without,
) -> WhatIf:
    """The same with as much tissue at random other places, averaged over :data:`ELSEWHERE` draws."""
    random = np.random.default_rng(seed)
    logits = []
    for _ in range(ELSEWHERE):
        others = [elsewhere(inside, region, random) for inside, region in zip(tissue, regions, strict=True)]
        logits.append(what_if(score, images, tissue, others, what, remove).logit)
    return WhatIf(what, float(np.mean(logits)))
