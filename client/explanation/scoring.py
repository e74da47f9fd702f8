"""From values of single views, which stay at the site, to scores with intervals over patients, which leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import estimate
from client.explanation.maps import Explanation, Maps
from client.explanation.quality import MapQuality
from client.explanation.sanity import likeness
from common.configuration import EvaluationConfig
from common.imaging.box import Box
from common.metrics.bootstrap import bootstrap_mean
from common.metrics.explanation import energy_in_boxes, pointing_game
from common.protocol import COMPARED, CONTROLS, Estimate, ExplanationQuality, ExplanationScore

Floats = npt.NDArray[np.float64]
SENT = ("iou", "dice", "deletion", "insertion", "faithfulness", "sensitivity")
"""Of a :class:`MapQuality`."""


@dataclass(frozen=True)
class Measured:
    """What one explainer, or control, made of the site's views, in their order."""

    explanation: Explanation
    forgotten: Maps
    """Of the first views, for a network that has forgotten everything."""
    quality: MapQuality | None = None
    """Of the first views, where it was asked for."""


def score_methods(
    found: Mapping[str, Measured],
    images: torch.Tensor,
    boxes: Sequence[Sequence[Box]],
    patients: Sequence[str],
    config: EvaluationConfig,
    seed: int,
) -> dict[str, ExplanationScore]:
    """Means over views, with intervals from resampled patients; differences from the controls are paired by view.

    Args:
        found: by method; both controls must be among them.
        images: ``(N, 1, H, W)``.
        boxes: of each view, in pixels of the images.
        patients: of each view.
        config: resamples and confidence.
        seed: of the resampling.
    """

    def interval(values: Floats) -> Estimate:
        """Of values of the first views; those that are not defined are left out."""
        known = np.isfinite(values)
        owners = [patient for patient, good in zip(patients, known, strict=False) if good]
        return estimate(bootstrap_mean(values[known], owners, config.bootstrap_samples, config.confidence, seed))

    def same(one: Maps, other: Maps) -> Estimate:
        return interval(likeness(one[: len(other)], other, images[: len(other)]))

    values = {method: _values(measured, boxes) for method, measured in found.items()}
    methods, scores = list(found), {}
    for place, (method, measured) in enumerate(found.items()):
        own, maps, gap = values[method], measured.explanation.maps, measured.explanation.gap
        quality, count = measured.quality, 0 if measured.quality is None else len(measured.quality.iou)
        scores[method] = ExplanationScore(
            pointing_game=interval(own["pointing_game"]),
            energy_in_box=interval(own["energy_in_box"]),
            views=len(boxes),
            gap=None if gap is None else float(gap.mean()),  # the largest would be one patient's
            randomised=same(maps, measured.forgotten),
            ahead={
                measure: {control: interval(_lead(measure, own, values[control])) for control in CONTROLS}
                for measure in own
                if method not in CONTROLS
            },
            quality=None
            if quality is None
            else ExplanationQuality(count, **{name: interval(getattr(quality, name)) for name in SENT}),
            agreement={other: same(maps, found[other].explanation.maps[:count]) for other in methods[place + 1 :]}
            if count
            else {},
        )
    return scores


def _values(measured: Measured, boxes: Sequence[Sequence[Box]]) -> dict[str, Floats]:
    """Every measure by which methods are compared, a value a view."""
    pairs = list(zip(measured.explanation.maps, boxes, strict=True))
    values = {
        "pointing_game": np.array([float(pointing_game(found, some)) for found, some in pairs]),
        "energy_in_box": np.array([energy_in_boxes(found, some) for found, some in pairs]),
    }
    if measured.quality is not None:
        values |= {name: getattr(measured.quality, name) for name in SENT if name in COMPARED}
    return values


def _lead(measure: str, own: Mapping[str, Floats], control: Mapping[str, Floats]) -> Floats:
    """By how much a method is better than a control, a value a view."""
    difference = own[measure] - control[measure]
    return -difference if measure == "deletion" else difference
