"""How good one explainer's maps are on a site's views: against the doctors' outlines, and against the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import probabilities
from client.explanation.detected import Explained
from client.explanation.maps import Maps, device_of, explained_copy
from client.explanation.sanity import Explain, cascading_randomisation
from common.imaging.box import Box
from common.metrics.explanation import mask_of_boxes, overlap, rank_accuracy
from common.metrics.faithfulness import faithfulness_correlation, pixel_flipping, sensitivity
from common.models.classifier import AIR

Floats = npt.NDArray[np.float64]
VIEWS_AT_ONCE = 32


@dataclass(frozen=True)
class MapQuality:
    """One value a view, ``(N,)``; NaN where a measure is not defined."""

    iou: Floats
    """Of the map's hot part (half of its maximum) with the boxes."""
    dice: Floats
    rank_accuracy: Floats
    """Share of the hottest pixels, as many as the boxes hold, that lies in them."""
    deletion: Floats
    insertion: Floats
    faithfulness: Floats
    sensitivity: Floats


@dataclass(frozen=True)
class Quality(MapQuality):
    """The same, and what is left of the map when the model forgets."""

    randomised: Floats
    """Rank correlation with the map of a network that has forgotten everything."""


def measure_maps(
    model: Explained, explain: Explain, images: Maps, maps: Maps, boxes: Sequence[Sequence[Box]], seed: int
) -> MapQuality:
    """Measure maps that an explainer has made of views with known boxes.

    Args:
        model: from :func:`explained_copy`, on any device.
        explain: the explainer; it is asked again about slightly changed views.
        images: ``(N, H, W)``, prepared.
        maps: ``(N, H, W)``, the explainer's.
        boxes: of each view, in pixels of the images.
        seed: of everything random; the same for every view, and for every explainer that is to be compared.

    Source of the measures: ``common/metrics/explanation.py``, ``common/metrics/faithfulness.py``.
    """

    def score(some: Maps) -> Floats:
        return _scores(model, some)

    def explained(some: Maps) -> Maps:
        return explain(model, torch.from_numpy(some)[:, None])

    truths = [mask_of_boxes(images.shape[1:], some) for some in boxes]
    views = list(zip(images, maps, images > AIR, strict=True))
    overlaps = [overlap(found, truth) for found, truth in zip(maps, truths, strict=True)]
    flipped = [pixel_flipping(score, *view, seed=seed) for view in views]
    return MapQuality(
        iou=np.array([item.iou for item in overlaps]),
        dice=np.array([item.dice for item in overlaps]),
        rank_accuracy=np.array([rank_accuracy(found, truth, seed) for found, truth in zip(maps, truths, strict=True)]),
        deletion=np.array([item.deletion for item in flipped]),
        insertion=np.array([item.insertion for item in flipped]),
        faithfulness=np.array([faithfulness_correlation(score, *view, seed=seed) for view in views]),
        sensitivity=np.array([sensitivity(explained, *view, seed=seed) for view in views]),
    )


def measure_quality(
    model: Explained,
    explain: Explain,
    images: Maps,
    boxes: Sequence[Sequence[Box]],
    seed: int,
) -> Quality:
    """Measure an explainer on views with known boxes. The model stays as it is.

    Args:
        model: trained.
        explain: the explainer.
        images: ``(N, H, W)``, prepared.
        boxes: of each view, in pixels of the images.
        seed: of everything random.

    Source of the forgetting: ``client/explanation/sanity.py``.
    """
    copied, views = explained_copy(model), torch.from_numpy(images)[:, None]
    found = measure_maps(copied, explain, images, explain(copied, views), boxes, seed)
    *_, forgotten = cascading_randomisation(copied, explain, views, seed)
    return Quality(**vars(found), randomised=forgotten.correlation)


def _scores(model: Explained, images: Maps) -> Floats:
    """Probability of malignancy of every view; of a detector, the score of its surest box."""
    device = device_of(model)
    with torch.inference_mode():
        logits = [
            model(some.to(device)).double().cpu().numpy()
            for some in torch.split(torch.from_numpy(images)[:, None], VIEWS_AT_ONCE)
        ]
    return probabilities(np.concatenate(logits))
