"""One exam as a detector sees it: its marks, what makes it sure of each, and what would change its mind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from client.detection.reading import SiteReading, ViewReading
from client.evaluation import probabilities
from client.explanation.case.case import (
    Case,
    CaseBreast,
    CaseMark,
    CaseView,
    Maps,
    MarkWhatIf,
    doctors_regions,
    grown,
    show_view,
    shown_box,
    shown_map,
)
from client.explanation.case.choice import Exam
from client.explanation.case.occlusion import WhatIf, control, what_if, without_regions
from client.explanation.case.transplant import transplanted
from client.explanation.detected import DetectedScore, PlaceScore, anchors_at
from client.explanation.maps import device_of, views_at_once
from client.explanation.sanity import Explain
from common.data.dataset import SiteData
from common.imaging.box import Box
from common.metrics.explanation import Mask, mask_of_boxes
from common.metrics.faithfulness import Score
from common.metrics.hits import hits
from common.models.classifier import AIR
from common.models.published import PublishedDetector

MAPPED = 3
"""So many marks of a view, the surest of those that are shown, have maps, and are tried without their tissue."""

MARGIN = 0.3
"""So much of its width and height is taken away with a mark on each side: what is left of a rim is found again."""
PIECES = 4
"""Over so many pieces of other tissue in a mark's place its score is averaged, as log-odds."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Marking:
    """A detector at a site, with all it detects there."""

    published: PublishedDetector
    data: SiteData
    reading: SiteReading

    @property
    def flips(self) -> bool:
        """Whether it also looks at views upside down."""
        return self.published.task.detector.test_flips


@dataclass(frozen=True)
class _Why:
    """Of a mark: maps by method, in the input, and what would change its score."""

    found: Mapping[str, Maps]
    what_if: MarkWhatIf


def make_marked_case(
    marking: Marking, explainers: Mapping[str, Explain], exam: Exam, threshold: float, seed: int
) -> Case:
    """Explain the marks of an exam.

    Args:
        marking: the detector and what it detects.
        explainers: by the name that the reader sees.
        exam: of the site.
        threshold: lowest score of a mark that is shown.
        seed: of the controls' places.

    Raises:
        UnreadableImageError: an original image is gone since it was prepared.
    """
    found = {(view.breast, view.view): view for view in marking.reading.views}
    breasts = []
    for index in exam.breasts:
        readings = [found[index, place] for place in range(len(marking.data.views[index]))]
        breasts.append(_breast(marking, explainers, index, readings, threshold, seed))
    return Case(exam.patient_id, exam.exam_id, tuple(breasts))


def _breast(
    marking: Marking,
    explainers: Mapping[str, Explain],
    index: int,
    readings: Sequence[ViewReading],
    threshold: float,
    seed: int,
) -> CaseBreast:
    breast, prepared = marking.data.breasts[index], marking.data.views[index]
    images = np.stack([np.asarray(image.pixels, dtype=np.float32) for image in prepared])
    tissue = images > AIR
    score = partial(_surest, marking)
    logits, views = score(images), []
    for place, (view, reading) in enumerate(zip(breast.views, readings, strict=True)):
        shown = reading.boxes[reading.scores >= threshold][:MAPPED]
        whys = [_why(marking, explainers, images[place], tissue[place], box, seed) for box in shown]
        of_surest = whys[0].found if whys else {name: np.zeros_like(images[place]) for name in explainers}
        bare = show_view(view, prepared[place], tissue[place], of_surest, float(logits[place]))
        views.append(_with_marks(bare, reading, whys, threshold, marking.published))
    regions = [
        mask_of_boxes(inside.shape, grown(boxes_of(reading.boxes[reading.scores >= threshold]), MARGIN)) & inside
        for reading, inside in zip(readings, tissue, strict=True)
    ]
    marked = doctors_regions(breast, prepared, images.shape[1:], MARGIN)
    names = [view.view for view in breast.views]
    return CaseBreast(
        breast,
        _sigmoid(float(marking.reading.logits[index])),
        tuple(views),
        tuple(
            (change.what, _sigmoid(change.logit))
            for change in _changes(score, images, tissue, names, regions, marked, seed)
        ),
    )


def _changes(
    score: Score,
    images: Maps,
    tissue: npt.NDArray[np.bool_],
    names: Sequence[str],
    regions: Sequence[Mask],
    marked: Sequence[Mask] | None,
    seed: int,
) -> list[WhatIf]:
    """Without the marks; where there are none, only without what the doctors marked."""
    remove = partial(transplanted, random=np.random.default_rng(seed))
    if any(region.any() for region in regions):
        return without_regions(score, images, tissue, names, regions, "what it marked", marked, seed, remove)
    if marked is not None:
        return [what_if(score, images, tissue, marked, "what the doctors marked, every view", remove)]
    return []


def _why(
    marking: Marking, explainers: Mapping[str, Explain], image: Maps, tissue: Mask, box: Floats, seed: int
) -> _Why:
    """Explain one mark of a view ``(H, W)``; ``box`` ``(4,)`` in its pixels."""
    looks = _looks(marking, image, box)
    views = torch.from_numpy(image)[None, None]
    region = mask_of_boxes(image.shape, grown(boxes_of(box[None]), MARGIN)) & tissue
    score, one, inside = partial(_highest, looks), image[None], tissue[None]
    remove = partial(transplanted, random=np.random.default_rng(seed))
    pieces = [what_if(score, one, inside, [region], "", remove).logit for _ in range(PIECES)]
    return _Why(
        {name: explain(looks[0], views)[0] for name, explain in explainers.items()},
        MarkWhatIf(
            _sigmoid(float(score(one)[0])),
            _sigmoid(float(np.mean(pieces))),
            _sigmoid(control(score, one, inside, [region], "", seed, remove).logit),
        ),
    )


def _looks(marking: Marking, image: Maps, box: Floats) -> list[PlaceScore]:
    """What gives the logit of the place of one mark of a view; the second, where there is one, upside down."""
    detector, height = marking.published.model, image.shape[0]
    looks = []
    for upside_down in (False, True) if marking.flips else (False,):
        x0, y0, x1, y1 = box.tolist()
        place = [x0, height - y1, x1, height - y0] if upside_down else [x0, y0, x1, y1]
        seen = torch.from_numpy(image)[None, None].to(device_of(DetectedScore(detector)))
        with torch.no_grad():
            found = detector(seen.flip(2) if upside_down else seen)
            looks.append(PlaceScore(detector, anchors_at(detector, found, 0, torch.tensor(place))))
    return looks


def _highest(looks: Sequence[PlaceScore], images: Maps) -> Floats:
    """The surer of one or two looks, the second upside down."""
    seen = [_logits(look, images[:, ::-1] if number else images) for number, look in enumerate(looks)]
    return np.asarray(np.max(seen, axis=0))


def _surest(marking: Marking, images: Maps) -> Floats:
    """Logits ``(N,)`` of views by which a breast is scored: of the highest anchor, the mean over looks."""
    model = DetectedScore(marking.published.model)
    looks = [images, images[:, ::-1]] if marking.flips else [images]
    return np.asarray(np.mean([_logits(model, look) for look in looks], axis=0))


def _logits(model: DetectedScore, images: Maps) -> Floats:
    placed = torch.from_numpy(np.ascontiguousarray(images))[:, None]
    device = device_of(model)
    with torch.no_grad():
        parts = [model(some.to(device)).double().cpu().numpy() for some in torch.split(placed, views_at_once(placed))]
    return np.concatenate(parts)


def _with_marks(
    view: CaseView, reading: ViewReading, whys: Sequence[_Why], threshold: float, published: PublishedDetector
) -> CaseView:
    config, geometry = published.task.evaluation, view.geometry
    found = hits(reading.boxes, reading.sought, config.hit_rule, config.hit_overlap)
    marks = []
    for number, (corners, score) in enumerate(zip(reading.boxes, reading.scores.tolist(), strict=True)):
        (x0, y0), (x1, y1) = geometry.points_to_stored(corners.reshape(2, 2)).tolist()
        box = Box(min(x0, x1), y0, max(x0, x1), y1)
        why = whys[number] if number < len(whys) else None
        maps = {} if why is None else why.found
        marks.append(
            CaseMark(
                box, shown_box(box, geometry), score,
                None if reading.lesions is None else bool(found[number].any()),
                {name: np.maximum(shown_map(one, geometry), 0.0) for name, one in maps.items()},
                None if why is None else why.what_if,
            )
        )  # fmt: skip
    shown = int(np.count_nonzero(reading.scores >= threshold))
    missed = None if reading.lesions is None else int(np.count_nonzero(~found[:shown].any(axis=0)))
    return replace(view, marks=tuple(marks[:shown]), weaker=tuple(marks[shown:]), missed=missed)


def boxes_of(corners: Floats) -> list[Box]:
    """Boxes ``(D, 4)`` as such."""
    return [Box(x0, y0, x1, y1) for x0, y0, x1, y1 in corners.tolist()]


def _sigmoid(logit: float) -> float:
    return float(probabilities(np.array([logit]))[0])
