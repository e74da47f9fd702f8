"""How good one explainer's maps are on a site's views: against the doctors' outlines, and against the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import probabilities
from client.explanation.detected import Explained
from client.explanation.maps import explained_copy
from client.explanation.sanity import Explain, cascading_randomisation
from common.imaging.box import Box
from common.metrics.explanation import mask_of_boxes, overlap, rank_accuracy
from common.metrics.faithfulness import faithfulness_correlation, pixel_flipping, sensitivity
from common.models.classifier import AIR

Maps = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
VIEWS_AT_ONCE = 32


@dataclass(frozen=True)
class Quality:
    """One value a view, ``(N,)``; NaN where a measure is not defined."""

    iou: Floats
    """Of the map's hot part (half of its maximum) with the boxes."""
    rank_accuracy: Floats
    """Share of the hottest pixels, as many as the boxes hold, that lies in them."""
    deletion: Floats
    insertion: Floats
    faithfulness: Floats
    sensitivity: Floats
    randomised: Floats
    """Rank correlation with the map of a network that has forgotten everything."""


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

    Source of the measures: ``common/metrics/explanation.py``, ``common/metrics/faithfulness.py``,
    ``client/explanation/sanity.py``.
    """
    return _measure(explained_copy(model), explain, images, boxes, seed)


def _measure(model: Explained, explain: Explain, images: Maps, boxes: Sequence[Sequence[Box]], seed: int) -> Quality:
    def score(some: Maps) -> Floats:
        return _scores(model, some)

    def explained(some: Maps) -> Maps:
        return explain(model, torch.from_numpy(some)[:, None])

    maps, tissue = explained(images), images > AIR
    truths = [mask_of_boxes(images.shape[1:], some) for some in boxes]
    views = list(zip(images, maps, tissue, strict=True))
    flipped = [pixel_flipping(score, *view, seed=seed) for view in views]
    *_, forgotten = cascading_randomisation(model, explain, torch.from_numpy(images)[:, None], seed)
    return Quality(
        iou=np.array([overlap(found, truth).iou for found, truth in zip(maps, truths, strict=True)]),
        rank_accuracy=np.array([rank_accuracy(found, truth, seed) for found, truth in zip(maps, truths, strict=True)]),
        deletion=np.array([item.deletion for item in flipped]),
        insertion=np.array([item.insertion for item in flipped]),
        faithfulness=np.array([faithfulness_correlation(score, *view, seed=seed) for view in views]),
        sensitivity=np.array([sensitivity(explained, *view, seed=seed) for view in views]),
        randomised=forgotten.correlation,
    )


def _scores(model: Explained, images: Maps) -> Floats:
    """Probability of malignancy of every view."""
    with torch.inference_mode():
        logits = [
            model(torch.from_numpy(images[start : start + VIEWS_AT_ONCE])[:, None]).double().numpy()
            for start in range(0, len(images), VIEWS_AT_ONCE)
        ]
    return probabilities(np.concatenate(logits))
