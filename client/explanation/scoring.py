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
    """Values of one explainer's, or control's, maps of the site's views, in their order."""

    compared: dict[str, Floats]
    """By measure, ``(N,)``; those of a :class:`MapQuality` of the first views alone."""
    gap: float | None
    """Mean over the views."""
    randomised: Floats
    """Likeness to the maps of a network that has forgotten everything, of the first views."""
    quality: MapQuality | None
    maps: Maps
    """Of as many views as ``quality`` has: others need not be kept."""


def values_of(
    explanation: Explanation,
    forgotten: Maps,
    quality: MapQuality | None,
    images: torch.Tensor,
    boxes: Sequence[Sequence[Box]],
) -> Measured:
    """What is kept of an explainer's maps.

    Args:
        explanation: of ``(N, 1, H, W)`` images.
        forgotten: maps of the first of them, for a network that has forgotten everything.
        quality: of the first of them, where it was asked for.
        images: the views.
        boxes: of each view, in pixels of the images.
    """
    maps, gap = explanation.maps, explanation.gap
    pairs = list(zip(maps, boxes, strict=True))
    compared = {
        "pointing_game": np.array([float(pointing_game(found, some)) for found, some in pairs]),
        "energy_in_box": np.array([energy_in_boxes(found, some) for found, some in pairs]),
    }
    if quality is not None:
        compared |= {name: getattr(quality, name) for name in SENT if name in COMPARED}
    return Measured(
        compared,
        None if gap is None else float(gap.mean()),  # the largest would be one patient's
        likeness(maps[: len(forgotten)], forgotten, images[: len(forgotten)]),
        quality,
        maps[: 0 if quality is None else len(quality.iou)].copy(),
    )


def score_methods(
    found: Mapping[str, Measured],
    images: torch.Tensor,
    patients: Sequence[str],
    config: EvaluationConfig,
    seed: int,
) -> dict[str, ExplanationScore]:
    """Means over views, with intervals from resampled patients; differences from the controls are paired by view.

    Args:
        found: by method; both controls must be among them.
        images: ``(N, 1, H, W)``.
        patients: of each view.
        config: resamples and confidence.
        seed: of the resampling.
    """

    def interval(values: Floats) -> Estimate:
        """Of values of the first views; those that are not defined are left out."""
        known = np.isfinite(values)
        owners = [patient for patient, good in zip(patients, known, strict=False) if good]
        return estimate(bootstrap_mean(values[known], owners, config.bootstrap_samples, config.confidence, seed))

    methods, scores = list(found), {}
    for place, (method, own) in enumerate(found.items()):
        count, quality = len(own.maps), own.quality
        scores[method] = ExplanationScore(
            pointing_game=interval(own.compared["pointing_game"]),
            energy_in_box=interval(own.compared["energy_in_box"]),
            views=len(patients),
            gap=own.gap,
            randomised=interval(own.randomised),
            ahead={
                measure: {control: interval(_lead(measure, own, found[control])) for control in CONTROLS}
                for measure in own.compared
                if method not in CONTROLS
            },
            quality=None
            if quality is None
            else ExplanationQuality(count, **{name: interval(getattr(quality, name)) for name in SENT}),
            agreement={
                other: interval(likeness(own.maps, found[other].maps, images[:count]))
                for other in methods[place + 1 :]
                if count
            },
        )
    return scores


def _lead(measure: str, own: Measured, control: Measured) -> Floats:
    """By how much a method is better than a control, a value a view."""
    difference = own.compared[measure] - control.compared[measure]
    return -difference if measure == "deletion" else difference
