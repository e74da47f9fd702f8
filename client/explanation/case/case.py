"""One exam, explained: scores, maps in the geometry of the original images, and what would change the score."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from client.evaluation import probabilities
from client.explanation.case.choice import Exam
from client.explanation.case.occlusion import hottest_region, without_regions
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


Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of a picture."""


@dataclass(frozen=True)
class MarkWhatIf:
    """How sure a detector is of a mark's place as it is, without its tissue, and without as much tissue elsewhere."""

    now: float
    without: float
    elsewhere: float


@dataclass(frozen=True, eq=False)
class CaseMark:
    """A detection of a view."""

    box: Box
    """In pixels of the original."""
    shown: Corners
    score: float
    on_lesion: bool | None
    """Whether it lies on a lesion by the hit rule; None where lesions are not known."""
    maps: Mapping[str, Maps] = field(default_factory=dict)
    """As those of a view, of what makes the detector sure of this mark; only the surest marks have some."""
    what_if: MarkWhatIf | None = None
    """Only of marks with maps."""


@dataclass(frozen=True, eq=False)
class CaseView:
    """One view, in the geometry of the original image, scaled down to ``ROWS``."""

    view: str
    grey: Maps
    """``(rows, columns)``, 0..1, dense tissue bright."""
    breast: Mask
    """``(rows, columns)``, what the network saw as breast."""
    maps: Mapping[str, Maps]
    """Method to ``(rows, columns)``, 0 or more; comparable over the views of a breast. A detector's are of its surest
    mark that is shown, all 0 without one."""
    boxes: tuple[Corners, ...] | None
    """In pixels of ``grey``; ``None`` where the doctors' boxes are not known."""
    logit: float
    file: Path
    """The original."""
    geometry: Geometry
    found: Mapping[str, Maps]
    """Method to the map in the network's input, 0 or more."""
    marks: tuple[CaseMark, ...] = ()
    """A detector's at its working point, the surest first."""
    weaker: tuple[CaseMark, ...] = ()
    """Below it."""
    missed: int | None = None
    """Lesions on which no mark lies that is shown; None where lesions are not known, and of a classifier."""


@dataclass(frozen=True, eq=False)
class CaseBreast:
    """A breast of the exam."""

    breast: Breast
    score: float
    """A classifier's probability of malignancy, with the published correction for class balancing. Or a detector's
    score, 0..1, which is no probability."""
    views: tuple[CaseView, ...]
    what_if: tuple[tuple[str, float], ...]
    """What was taken away, and the score without it."""


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
    first = next(iter(maps.values()))
    hot = [hottest_region(found) & inside for found, inside in zip(first, tissue, strict=True)]
    changes = without_regions(
        partial(_score, published.model), images, tissue, [view.view for view in breast.views], hot,
        "the region the model saw most in", doctors_regions(breast, prepared, images.shape[1:]), seed,
    )  # fmt: skip
    views = tuple(
        show_view(
            view, image, tissue[place], {name: found[place] for name, found in maps.items()}, float(logits[place])
        )
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


def grown(boxes: Sequence[Box], margin: float) -> list[Box]:
    """Boxes, on each side wider and taller by a share of themselves."""
    result = []
    for box in boxes:
        across, down = margin * (box.x1 - box.x0), margin * (box.y1 - box.y0)
        result.append(Box(box.x0 - across, box.y0 - down, box.x1 + across, box.y1 + down, box.label))
    return result


def doctors_regions(
    breast: Breast, prepared: Sequence[CachedImage], shape: tuple[int, ...], margin: float = 0.0
) -> list[Mask] | None:
    """What the doctors marked and a margin, one region a view, in the network's input ``shape``; None where nothing."""
    if not any(view.boxes for view in breast.views):
        return None
    return [
        mask_of_boxes(shape, grown(image.geometry.boxes_to_input(view.boxes or ()), margin))
        for view, image in zip(breast.views, prepared, strict=True)
    ]


def show_view(view: View, image: CachedImage, tissue: Mask, maps: Mapping[str, Maps], logit: float) -> CaseView:
    """Lay what the network was given and what was found out over the original.

    Args:
        view: of the manifest.
        image: as the network got it.
        tissue: of the input.
        maps: by method, in the input.
        logit: of the view.

    Raises:
        UnreadableImageError: the original is gone since it was prepared.
    """
    stored = read_image(view.file).pixels
    if image.geometry.inverted:
        stored = 1.0 - stored
    rows, columns = shown_size(image.geometry)
    breast = shown_map(tissue.astype(np.float32), image.geometry) > 0.5
    return CaseView(
        view.view,
        _windowed(resample(stored, rows, columns), breast),
        breast,
        {name: np.maximum(shown_map(found, image.geometry), 0.0) for name, found in maps.items()},
        None if view.boxes is None else tuple(shown_box(box, image.geometry) for box in view.boxes),
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


def shown_size(geometry: Geometry) -> tuple[int, int]:
    """Rows and columns of a view's picture."""
    rows = min(ROWS, geometry.stored_rows)
    return rows, max(1, round(geometry.stored_columns * rows / geometry.stored_rows))


def shown_map(found: Maps, geometry: Geometry) -> Maps:
    """A map of the input over a view's picture."""
    return resample(geometry.map_to_stored(found), *shown_size(geometry))


def shown_box(box: Box, geometry: Geometry) -> Corners:
    """A box of the original on a view's picture."""
    factor = shown_size(geometry)[0] / geometry.stored_rows
    return box.x0 * factor, box.y0 * factor, box.x1 * factor, box.y1 * factor
