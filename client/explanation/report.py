"""Explains the model on a site's own patients: scores for the coordinator, pictures for the site."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import MINIMUM_CELL, probabilities
from client.explanation.controls import control_maps
from client.explanation.detected import Explained
from client.explanation.explainers import EXPLAINERS
from client.explanation.gallery import draw_gallery_picture
from client.explanation.maps import Explanation, Maps, explained_copy
from client.explanation.quality import MapQuality, measure_maps
from client.explanation.sanity import Explain, untaught
from client.explanation.scoring import Measured, score_methods, values_of
from client.inference import Logits
from client.site import Site
from common import progress
from common.atomic import write_bytes, write_text
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.errors import ExplainerError
from common.imaging.box import Box
from common.metrics.explanation import pointing_game
from common.protocol import ExplanationScore

VIEWS_AT_ONCE = 16
SANITY_VIEWS = 12
"""At most so many views are explained a second time, for a network that has forgotten everything."""
QUALITY_VIEWS = 24
"""At most so many views are measured by ``evaluation.quality=full``."""

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
    *,
    full: bool = False,
) -> dict[str, ExplanationScore]:
    """Score explanations against the doctors' boxes, and against a network that has forgotten everything.

    Scored are up to ``config.explained`` malignant breasts, every view with a known box, by each of
    ``config.explainers`` and next to two controls (the image's own intensity, and noise): an explainer
    that does not beat both explains nothing. An explainer that is refused (``ExplainerError``) is left out;
    the site's log says why, and the report shows it as not scored.

    ``full`` measures the maps of the first ``QUALITY_VIEWS`` views also by what the model does when the view changes,
    and how far the methods agree: a hundred more passes and nine more explanations a view and method.

    Returns:
        Method to score; empty where fewer malignant views than ``MINIMUM_CELL`` have a known box.
    """
    malignant = [
        index for index, breast in enumerate(data.breasts) if breast.target and any(view.boxes for view in breast.views)
    ]
    views = [view for view in shown_views(data, malignant[: config.explained]) if view.boxes]
    if len(views) < MINIMUM_CELL:
        return {}
    pixels, boxes = _stack(views), [view.boxes or () for view in views]
    patients = [data.breasts[view.breast].patient_id for view in views]
    copied = explained_copy(model)
    forgetful = untaught(copied, seed)

    def measured(method: str, explainer: Explain, explanation: Explanation, forgotten: Maps) -> Measured:
        quality, description = None, f"{name}: {method}, quality"
        if full:
            some = pixels[:QUALITY_VIEWS]
            quality = _qualities(copied, explainer, some, explanation.maps, boxes, seed, description)
        return values_of(explanation, forgotten, quality, pixels, boxes)

    found: dict[str, Measured] = {}
    for method in config.explainers:
        try:
            explanation = _explained(method, model, views, background, f"{name}: {method}")
            other = _explained(
                method, forgetful, views[:SANITY_VIEWS], background, f"{name}: {method}, everything forgotten"
            )
            found[method] = measured(method, _explainer(method, background), explanation, other.maps)
        except ExplainerError as error:
            logger.error("%s is not scored: %s", method, error)
    for control, maps in control_maps(pixels, seed).items():  # they never ask the model
        found[control] = measured(control, _control(control, seed + 1), Explanation(maps), maps[:SANITY_VIEWS])
    return score_methods(found, pixels, patients, config, seed)


def _stack(views: Sequence[ShownView]) -> torch.Tensor:
    return torch.from_numpy(np.stack([view.pixels for view in views]))[:, None]


def _explainer(method: str, background: torch.Tensor) -> Explain:
    return lambda model, images: EXPLAINERS[method](model, images, background).maps


def _control(name: str, seed: int) -> Explain:
    """Asked again: the seed is another, for noise has no steady opinion."""
    return lambda model, images: control_maps(images, seed)[name]


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


def _qualities(
    model: Explained,
    explainer: Explain,
    pixels: torch.Tensor,
    maps: Maps,
    boxes: Sequence[Sequence[Box]],
    seed: int,
    description: str,
) -> MapQuality:
    """Measure the maps of the given views, one after the other."""
    parts = []
    with progress.track(description, len(pixels)) as advance:
        for place, image in enumerate(pixels.numpy()):
            parts.append(measure_maps(model, explainer, image, maps[place : place + 1], boxes[place : place + 1], seed))
            advance(1)
    return MapQuality(
        **{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(MapQuality)}
    )


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
