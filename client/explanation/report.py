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
from client.explanation.explainers import EXPLAINERS
from client.explanation.gallery import draw_gallery_picture
from client.explanation.maps import Explanation, Maps
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
from common.models.classifier import BreastClassifier
from common.protocol import Estimate, ExplanationScore

VIEWS_AT_ONCE = 16

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
    model: BreastClassifier,
    data: SiteData,
    background: torch.Tensor,
    logits: Logits,
    config: EvaluationConfig,
    site: Site,
    seed: int,
) -> dict[str, ExplanationScore]:
    """Score explanations against the doctors' boxes and draw the site's gallery.

    Scored are up to ``config.explained`` malignant breasts, every view with a known box, by each of
    ``config.explainers`` and next to two controls (the image's own intensity, and noise): an explainer
    that does not beat both explains nothing. The first explainer draws the gallery, which goes to
    ``reports/gallery`` of the site and nowhere else.

    An explainer that is refused (``ExplainerError``) is left out; the site's log says why, and the report
    shows it as not scored.

    Returns:
        Method to score; empty where fewer malignant views than ``MINIMUM_CELL`` have a known box.
    """
    try:
        _draw_gallery(model, data, background, logits, config, site)
    except ExplainerError as error:
        logger.error("the gallery is not drawn: %s", error)
    malignant = [
        index for index, breast in enumerate(data.breasts) if breast.target and any(view.boxes for view in breast.views)
    ]
    views = [view for view in shown_views(data, malignant[: config.explained]) if view.boxes]
    if len(views) < MINIMUM_CELL:
        return {}
    patients = [data.breasts[view.breast].patient_id for view in views]

    def score(explanation: Explanation) -> ExplanationScore:
        return _score(explanation, views, patients, config, seed)

    scores: dict[str, ExplanationScore] = {}
    for method in config.explainers:
        try:
            scores[method] = score(_explained(method, model, views, background, f"{site.name}: {method}"))
        except ExplainerError as error:
            logger.error("%s is not scored: %s", method, error)
    controls = control_maps(_stack(views), seed)
    return scores | {name: score(Explanation(maps)) for name, maps in controls.items()}


def _stack(views: Sequence[ShownView]) -> torch.Tensor:
    return torch.from_numpy(np.stack([view.pixels for view in views]))[:, None]


def _explained(
    method: str, model: BreastClassifier, views: Sequence[ShownView], background: torch.Tensor, description: str
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
    explanation: Explanation, views: Sequence[ShownView], patients: Sequence[str], config: EvaluationConfig, seed: int
) -> ExplanationScore:
    pairs = list(zip(explanation.maps, views, strict=True))
    hits = [float(pointing_game(found, view.boxes or ())) for found, view in pairs]
    energies = [energy_in_boxes(found, view.boxes or ()) for found, view in pairs]

    def interval(values: list[float]) -> Estimate:
        return estimate(bootstrap_mean(np.asarray(values), patients, config.bootstrap_samples, config.confidence, seed))

    # The mean: the largest gap would be one patient's.
    gap = None if explanation.gap is None else float(explanation.gap.mean())
    return ExplanationScore(interval(hits), interval(energies), len(views), gap)


def _chosen(data: SiteData, logits: Logits, number: int) -> list[int]:
    """Breasts for the gallery: the surest and the least sure cancers, then the worst false alarms."""
    order = np.argsort(-logits)
    cancers = [int(index) for index in order if data.targets[index]]
    others = [int(index) for index in order if not data.targets[index]]
    best, rest = cancers[: max(1, number // 2)], cancers[max(1, number // 2) :]
    missed = rest[::-1][: number // 4]
    return (best + missed + others)[:number]


def _draw_gallery(
    model: BreastClassifier,
    data: SiteData,
    background: torch.Tensor,
    logits: Logits,
    config: EvaluationConfig,
    site: Site,
) -> None:
    chance = probabilities(logits)
    threshold = _operating_threshold(data, chance, config.specificity)
    entries = []
    folder = site.reports / "gallery"
    views = shown_views(data, _chosen(data, logits, config.gallery))
    maps = _explained(config.explainers[0], model, views, background, f"{site.name}: gallery").maps if views else ()
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
