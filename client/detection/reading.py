"""What the detector says of every breast of a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from client.compute import choose
from common import progress
from common.configuration import TaskConfig
from common.data.dataset import SiteData, make_batch
from common.data.lesions import Lesions, lesions_of
from common.metrics.froc import ReadImage
from common.models.classifier import pool_views
from common.models.detector import Detections, MassDetector, RawDetections

BREASTS_AT_ONCE = 4

Floats = npt.NDArray[np.float64]
CROPPED_AWAY = np.array([[-2.0, -2.0, -1.0, -1.0]])
"""A lesion that the input does not show: no detection can hit it, and it counts."""


@dataclass(frozen=True)
class ViewReading:
    """One view: the detections ``boxes`` ``(D, 4)`` with ``scores`` ``(D,)``, and the lesions where they are known."""

    breast: int
    view: int
    boxes: Floats
    scores: Floats
    lesions: Lesions | None

    @property
    def sought(self) -> Floats:
        """The lesions' boxes ``(L, 4)``, those that were cropped away among them; none where they are unknown."""
        if self.lesions is None:
            return np.empty((0, 4))
        return np.concatenate([self.lesions.corners, np.repeat(CROPPED_AWAY, self.lesions.lost, axis=0)])


@dataclass(frozen=True)
class SiteReading:
    """All views of a site in order, and a logit ``(breasts,)`` for each breast: the mean over its views of the highest
    anchor's, before any detection is dropped. ``loss`` is the mean over views whose lesions are known and shown."""

    views: list[ViewReading]
    logits: Floats
    loss: float | None

    def known(self) -> list[ViewReading]:
        """Views whose lesions are known."""
        return [view for view in self.views if view.lesions is not None]


def read_site(model: MassDetector, data: SiteData, task: TaskConfig, description: str) -> SiteReading:
    """Look at every view; the model's train/eval mode is as before afterwards."""
    compute, was_training = choose(task.training), model.training
    compute.place_model(model)
    model.eval()
    views: list[ViewReading] = []
    logits: list[Floats] = [np.empty(0)]
    losses: list[float] = []
    with torch.inference_mode(), progress.track(description, len(data.breasts)) as advance:
        for start in range(0, len(data.breasts), BREASTS_AT_ONCE):
            indices = range(start, min(start + BREASTS_AT_ONCE, len(data.breasts)))
            batch = make_batch(data, indices)
            mirrored = [False, True] if task.detector.test_flips else [False]
            looks: list[RawDetections] = []
            for upside_down in mirrored:
                images = compute.place(batch.images.flip(2) if upside_down else batch.images)
                with compute.autocast():
                    looks.append(model(images))
            highest = torch.stack([look.logits.amax(dim=1) for look in looks]).mean(dim=0)
            of_breasts = pool_views(highest, batch.breast_of_image.to(compute.device), len(indices))
            logits.append(of_breasts.double().cpu().numpy())
            some = _of_views(model.detections(looks, mirrored), data, indices, task.detector.lesions)
            losses += _losses(model, looks[0], some)
            views += some
            advance(len(indices))
    model.to("cpu").train(was_training)
    return SiteReading(views, np.concatenate(logits), float(np.mean(losses)) if losses else None)


def _of_views(found: Sequence[Detections], data: SiteData, indices: Sequence[int], kind: str) -> list[ViewReading]:
    places = [(index, number) for index in indices for number in range(len(data.views[index]))]
    return [
        ViewReading(
            index, number, one.boxes.double().cpu().numpy(), one.scores.double().cpu().numpy(),
            lesions_of(data.breasts[index], data.breasts[index].views[number], data.views[index][number], kind),
        )
        for (index, number), one in zip(places, found, strict=True)
    ]  # fmt: skip


def _losses(model: MassDetector, look: RawDetections, views: Sequence[ViewReading]) -> list[float]:
    boxes = [torch.from_numpy(view.sought).float() for view in views]
    counts = [view.lesions is not None and not view.lesions.lost for view in views]
    return [value for value, shown in zip(model.losses(look, boxes).tolist(), counts, strict=True) if shown]


def read_images(data: SiteData, views: Sequence[ViewReading]) -> list[ReadImage]:
    """Views whose lesions are known, as the FROC curve takes them."""
    return [
        ReadImage(
            data.breasts[view.breast].patient_id, data.breasts[view.breast].key, view.boxes, view.scores, view.sought
        )
        for view in views
        if view.lesions is not None
    ]
