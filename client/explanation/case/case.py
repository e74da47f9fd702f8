"""One exam, explained: scores, maps in the geometry of the original images, and what would change the score."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import probabilities
from client.explanation.case.choice import Exam
from client.explanation.case.occlusion import WhatIf, control, hottest_region, what_if
from client.explanation.maps import device_of
from client.explanation.sanity import Explain
from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.imaging.box import Box
from common.imaging.geometry import Geometry
from common.imaging.reading import read_image
from common.imaging.resampling import resample
from common.metrics.explanation import Mask, mask_of_boxes
from common.models.classifier import AIR, BreastClassifier
from common.models.published import PublishedModel

ROWS = 900
"""Of the pictures in a report; smaller originals keep their size."""

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CaseView:
    """One view, in the geometry of the original image, scaled down to ``ROWS``."""

    view: str
    grey: Maps
    """``(rows, columns)``, 0..1, dense tissue bright."""
    breast: Mask
    """``(rows, columns)``, what the network saw as breast."""
    maps: Mapping[str, Maps]
    """Method to ``(rows, columns)``, 0 or more; comparable over the views of a breast."""
    boxes: tuple[tuple[float, float, float, float], ...] | None
    """x0, y0, x1, y1 in pixels of ``grey``; ``None`` where the doctors' boxes are not known."""
    logit: float
    file: Path
    """The original."""
    geometry: Geometry
    found: Mapping[str, Maps]
    """Method to the map in the network's input, 0 or more."""


@dataclass(frozen=True, eq=False)
class CaseBreast:
    """A breast of the exam. Probabilities are of malignancy, with the published correction for class balancing."""

    breast: Breast
    probability: float
    views: tuple[CaseView, ...]
    what_if: tuple[tuple[str, float], ...]
    """What was taken away, and the probability without it."""


def picture_name(item: CaseBreast, number: int) -> str:
    """Plain file name, without its end, for what shows a view; ``number`` counts the breast's views from 1."""
    return f"{item.breast.laterality}-{re.sub(r'[^A-Za-z0-9]+', '', item.views[number - 1].view) or 'view'}-{number}"


@dataclass(frozen=True)
class Case:
    """An exam with its breasts."""

    patient_id: str
    exam_id: str
    breasts: tuple[CaseBreast, ...]


def make_case(
    published: PublishedModel, explainers: Mapping[str, Explain], data: SiteData, exam: Exam, seed: int
) -> Case:
    """Explain every view of an exam.

    Args:
        published: the model and its correction.
        explainers: by the name that the reader sees; the first also says which region is tried without.
        data: of the site.
        exam: of the site.
        seed: of the control's places.

    Raises:
        UnreadableImageError: an original image is gone since it was prepared.
    """
    breasts = tuple(_breast(published, explainers, data, index, seed) for index in exam.breasts)
    return Case(exam.patient_id, exam.exam_id, breasts)


def _breast(
    published: PublishedModel, explainers: Mapping[str, Explain], data: SiteData, index: int, seed: int
) -> CaseBreast:
    breast, prepared = data.breasts[index], data.views[index]
    images = np.stack([np.asarray(image.pixels, dtype=np.float32) for image in prepared])
    tissue = images > AIR
    maps = {name: explain(published.model, torch.from_numpy(images)[:, None]) for name, explain in explainers.items()}
    logits = _score(published.model, images)
    changes = _changes(published.model, breast, prepared, images, tissue, next(iter(maps.values())), seed)
    views = tuple(
        _view(view, image, tissue[place], {name: found[place] for name, found in maps.items()}, float(logits[place]))
        for place, (view, image) in enumerate(zip(breast.views, prepared, strict=True))
    )
    return CaseBreast(
        breast,
        _probability(published, float(logits.mean())),
        views,
        tuple((change.what, _probability(published, change.logit)) for change in changes),
    )


def _probability(published: PublishedModel, logit: float) -> float:
    return float(probabilities(np.array([logit + published.prior_log_odds]))[0])


def _score(model: BreastClassifier, images: Maps) -> npt.NDArray[np.float64]:
    """Logits of views."""
    with torch.inference_mode():
        placed = torch.from_numpy(images)[:, None].to(device_of(model))
        logits: npt.NDArray[np.float64] = model(placed).double().cpu().numpy()
    return logits


def _changes(
    model: BreastClassifier,
    breast: Breast,
    prepared: tuple[CachedImage, ...],
    images: Maps,
    tissue: npt.NDArray[np.bool_],
    maps: Maps,
    seed: int,
) -> list[WhatIf]:
    """Without the hottest region of each view, of all views, without the boxes; and the control."""

    def score(some: Maps) -> npt.NDArray[np.float64]:
        return _score(model, some)

    hot = [hottest_region(found) & inside for found, inside in zip(maps, tissue, strict=True)]
    nothing = np.zeros_like(hot[0])
    changes = []
    if len(hot) > 1:
        for place, view in enumerate(breast.views):
            only = [region if here == place else nothing for here, region in enumerate(hot)]
            changes.append(what_if(score, images, tissue, only, f"the region the model saw most in, {view.view} only"))
    changes.append(what_if(score, images, tissue, hot, "the region the model saw most in, every view"))
    changes.append(control(score, images, tissue, hot, "as much tissue at other places (mean of eight tries)", seed))
    if any(view.boxes for view in breast.views):
        marked = [
            mask_of_boxes(images[place].shape, image.geometry.boxes_to_input(view.boxes or ()))
            for place, (view, image) in enumerate(zip(breast.views, prepared, strict=True))
        ]
        changes.append(what_if(score, images, tissue, marked, "what the doctors marked, every view"))
    return changes


def _view(view: View, image: CachedImage, tissue: Mask, maps: Mapping[str, Maps], logit: float) -> CaseView:
    stored = read_image(view.file).pixels
    if image.geometry.inverted:
        stored = 1.0 - stored
    rows = min(ROWS, stored.shape[0])
    columns = max(1, round(stored.shape[1] * rows / stored.shape[0]))

    def shown(found: Maps) -> Maps:
        return resample(image.geometry.map_to_stored(found), rows, columns)

    breast = shown(tissue.astype(np.float32)) > 0.5
    return CaseView(
        view.view,
        _windowed(resample(stored, rows, columns), breast),
        breast,
        {name: np.maximum(shown(found), 0.0) for name, found in maps.items()},
        None if view.boxes is None else tuple(_scaled(box, rows / stored.shape[0]) for box in view.boxes),
        logit,
        view.file,
        image.geometry,
        {name: np.maximum(found, 0.0) for name, found in maps.items()},
    )


def _windowed(grey: Maps, breast: Mask) -> Maps:
    """Grey values with the breast between its 1st and 99.5th percentile."""
    inside = grey[breast] if breast.any() else grey
    low, high = np.percentile(inside, (1.0, 99.5))
    return np.asarray(np.clip((grey - low) / max(float(high - low), 1e-6), 0.0, 1.0), dtype=np.float32)


def _scaled(box: Box, factor: float) -> tuple[float, float, float, float]:
    return box.x0 * factor, box.y0 * factor, box.x1 * factor, box.y1 * factor
