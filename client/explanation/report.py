"""Explains the model on a site's own patients: scores for the coordinator, pictures for the site."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import MINIMUM_CELL, estimate, probabilities
from client.explanation.controls import control_maps
from client.explanation.detected import Explained
from client.explanation.explainers import EXPLAINERS
from client.explanation.gallery import draw_gallery_picture
from client.explanation.maps import Explanation, Maps, explained_copy
from client.explanation.sanity import likeness, untaught
from client.inference import Logits
from client.site import Site
from common import progress
from common.atomic import write_bytes, write_text
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.errors import ExplainerError
from common.imaging.box import Box
from common.metrics.bootstrap import bootstrap_mean
from common.metrics.explanation import energy_in_boxes, pointing_game
from common.protocol import Estimate, ExplanationScore

VIEWS_AT_ONCE = 16
SANITY_VIEWS = 12
"""At most so many views are explained a second time, for a network that has forgotten everything."""

logger = logging.getLogger("xai_federation.client")


@dataclass(frozen=True)
class ShownView:
    """One view of a breast, ready to be explained; boxes in pixels of the network's input."""

    breast: int
    view: str
    pixels: Maps
    boxes: tuple[Box, ...] | None


def shown_views(data: SiteData, breasts: Sequence[int]) -> list[ShownView]:
    """All views of the given breasts."""
    return [
        ShownView(
            index,
            view.view,
            np.asarray(image.pixels, dtype=np.float32),
            None if view.boxes is None else tuple(image.geometry.boxes_to_input(view.boxes)),
        )
        for index in breasts
        for view, image in zip(data.breasts[index].views, data.views[index], strict=True)
    ]


def explain(
    model: Explained,
    data: SiteData,
    background: torch.Tensor,
    config: EvaluationConfig,
    name: str,
    seed: int,
) -> dict[str, ExplanationScore]:
    """Score explanations against the doctors' boxes, and against a network that has forgotten everything.

    Scored are up to ``config.explained`` malignant breasts, every view with a known box, by each of
    ``config.explainers`` and next to two controls (the image's own intensity, and noise): an explainer
    that does not beat both explains nothing. An explainer that is refused (``ExplainerError``) is left out;
    the site's log says why, and the report shows it as not scored.

    Returns:
        Method to score; empty where fewer malignant views than ``MINIMUM_CELL`` have a known box.
    """
    malignant = [
        index for index, breast in enumerate(data.breasts) if breast.target and any(view.boxes for view in breast.views)
    ]
    views = [view for view in shown_views(data, malignant[: config.explained]) if view.boxes]
    if len(views) < MINIMUM_CELL:
        return {}
    patients = [data.breasts[view.breast].patient_id for view in views]
    some = views[:SANITY_VIEWS]
    forgetful = untaught(explained_copy(model), seed)
    scores: dict[str, ExplanationScore] = {}
    for method in config.explainers:
        try:
            found = _explained(method, model, views, background, f"{name}: {method}")
            other = _explained(method, forgetful, some, background, f"{name}: {method}, everything forgotten")
        except ExplainerError as error:
            logger.error("%s is not scored: %s", method, error)
        else:
            scores[method] = _score(found, other.maps, views, patients, config, seed)
    for control, maps in control_maps(_stack(views), seed).items():  # they never ask the model
        scores[control] = _score(Explanation(maps), maps[:SANITY_VIEWS], views, patients, config, seed)
    return scores


def _stack(views: Sequence[ShownView]) -> torch.Tensor:
    return torch.from_numpy(np.stack([view.pixels for view in views]))[:, None]


def _explained(
    method: str, model: Explained, views: Sequence[ShownView], background: torch.Tensor, description: str
) -> Explanation:
    parts = []
    with progress.track(description, len(views)) as advance:
        for start in range(0, len(views), VIEWS_AT_ONCE):
            some = views[start : start + VIEWS_AT_ONCE]
            parts.append(EXPLAINERS[method](model, _stack(some), background))
            advance(len(some))
    gaps = [part.gap for part in parts if part.gap is not None]
    return Explanation(np.concatenate([part.maps for part in parts]), np.concatenate(gaps) if gaps else None)


def _score(
    explanation: Explanation,
    forgotten: Maps,
    views: Sequence[ShownView],
    patients: Sequence[str],
    config: EvaluationConfig,
    seed: int,
) -> ExplanationScore:
    pairs = list(zip(explanation.maps, views, strict=True))
    hits = [float(pointing_game(found, view.boxes or ())) for found, view in pairs]
    energies = [energy_in_boxes(found, view.boxes or ()) for found, view in pairs]
    same = likeness(explanation.maps[: len(forgotten)], forgotten, _stack(views[: len(forgotten)]))

    def interval(values: npt.NDArray[np.float64]) -> Estimate:
        known = np.isfinite(values)
        owners = [patient for patient, good in zip(patients, known, strict=False) if good]
        return estimate(bootstrap_mean(values[known], owners, config.bootstrap_samples, config.confidence, seed))

    # The mean: the largest gap would be one patient's.
    gap = None if explanation.gap is None else float(explanation.gap.mean())
    return ExplanationScore(interval(np.array(hits)), interval(np.array(energies)), len(views), gap, interval(same))


def _chosen(data: SiteData, logits: Logits, number: int) -> list[int]:
    """Breasts for the gallery: the surest and the least sure cancers, then the worst false alarms."""
    order = np.argsort(-logits)
    cancers = [int(index) for index in order if data.targets[index]]
    others = [int(index) for index in order if not data.targets[index]]
    best, rest = cancers[: max(1, number // 2)], cancers[max(1, number // 2) :]
    missed = rest[::-1][: number // 4]
    return (best + missed + others)[:number]


def draw_gallery(
    model: Explained,
    data: SiteData,
    background: torch.Tensor,
    logits: Logits,
    config: EvaluationConfig,
    site: Site,
) -> None:
    """Draw the first explainer's maps of some breasts into ``reports/gallery`` of the site, and nowhere else.

    If it is refused there is no gallery; the site's log says why.
    """
    chance = probabilities(logits)
    threshold = _operating_threshold(data, chance, config.specificity)
    entries = []
    folder = site.reports / "gallery"
    views = shown_views(data, _chosen(data, logits, config.gallery))
    try:
        maps = _explained(config.explainers[0], model, views, background, f"{site.name}: gallery").maps if views else ()
    except ExplainerError as error:
        logger.error("the gallery is not drawn: %s", error)
        return
    for number, (view, found) in enumerate(zip(views, maps, strict=True), 1):
        breast, score = data.breasts[view.breast], float(chance[view.breast])
        name = f"{number:02d}-{view.view}.png"
        write_bytes(folder / name, draw_gallery_picture(view.pixels, found, view.boxes or ()))
        entries.append(
            {
                "file": name,
                "label": breast.label,
                "score": score,
                "outcome": _outcome(bool(breast.target), score >= threshold),
                "view": view.view,
                "pointing": pointing_game(found, view.boxes) if view.boxes else None,
                "boxes": None if view.boxes is None else len(view.boxes),
            }
        )
    write_text(folder / "gallery.json", json.dumps(entries, indent=1))


def _operating_threshold(data: SiteData, chance: npt.NDArray[np.float64], specificity: float) -> float:
    """Score that this share of the site's breasts without malignancy stays below."""
    negatives = chance[data.targets == 0]
    return float(np.quantile(negatives, specificity)) if len(negatives) else 0.5


def _outcome(malignant: bool, called: bool) -> str:
    if malignant:
        return "hit" if called else "missed"
    return "false alarm" if called else "correct"
