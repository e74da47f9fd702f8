"""The mass detector at a site: where are lesions in this view?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from client.compute import Compute
from client.detection.evaluation import measure as measured
from client.detection.evaluation import summarise
from client.detection.gallery import draw_gallery
from client.detection.reading import read_site
from client.explanation.background import choose_background
from client.explanation.detected import DetectedScore
from client.explanation.report import explain
from client.site import Site
from client.tasks.inquiry import Inquiry
from client.tasks.losses import Losses
from common.configuration import TaskConfig
from common.data.augmentation import augment_with_boxes
from common.data.dataset import SiteData, make_batch
from common.data.lesions import batch_boxes, for_detection, patients_with_lesion, with_lesion
from common.data.sampling import Indices, lesion_epoch
from common.errors import NoLesionError
from common.models.detector import MassDetector
from common.protocol import EvaluationReport, ExplanationScore


def trainable(data: SiteData, task: TaskConfig) -> SiteData:
    """Views whose lesions are all known and shown.

    Raises:
        NoLesionError: none of them shows a lesion.
    """
    usable = for_detection(data, task.detector.lesions)
    if not kinds(usable, task).any():
        raise NoLesionError(
            f"no training image of {data.site} shows a lesion whose box is known",
            where=data.site,
            do="fill the column boxes of the manifest, or leave the site out with sites=[...]",
        )
    return usable


def kinds(data: SiteData, task: TaskConfig) -> npt.NDArray[np.int64]:
    """Breasts with a lesion."""
    return with_lesion(data, task.detector.lesions)


def counted(data: SiteData, task: TaskConfig) -> int:
    """Patients with a lesion: what a detector learns grows with them, hardly with the others."""
    return patients_with_lesion(data, task.detector.lesions)


def epoch(data: SiteData, task: TaskConfig, random: np.random.Generator) -> Indices:
    """As many visits as there are breasts, a set share of them to breasts with a lesion."""
    return lesion_epoch(kinds(data, task), task.detector.lesion_share, random)


def losses(
    model: MassDetector,
    compute: Compute,
    data: SiteData,
    indices: Indices,
    task: TaskConfig,
    random: torch.Generator,
) -> Losses:
    """Loss of each view."""
    batch = make_batch(data, indices)
    boxes = batch_boxes(data, indices, task.detector.lesions)
    images, boxes = augment_with_boxes(batch.images, boxes, task.training.augmentation, random)
    with compute.autocast():
        found = model(compute.place(images))
    return Losses(model.losses(found, boxes), batch.breast_of_image)


def validate(model: MassDetector, data: SiteData, task: TaskConfig, name: str) -> EvaluationReport:
    """Counts, loss, AUC and FROC."""
    return summarise(data, read_site(model, data, task, name), task.evaluation)


def measure(model: MassDetector, data: SiteData, task: TaskConfig, inquiry: Inquiry) -> EvaluationReport:
    """FROC with intervals; AUC, sensitivity and ROC of whole breasts."""
    return measured(data, read_site(model, data, task, inquiry.name), task.evaluation, inquiry.seed)


def examine(
    model: MassDetector, data: SiteData, task: TaskConfig, inquiry: Inquiry, site: Site, training: SiteData
) -> EvaluationReport:
    """The same, with a gallery of hits, misses and false alarms."""
    reading = read_site(model, data, task, inquiry.name)
    draw_gallery(data, reading, task.evaluation, site)
    report = measured(data, reading, task.evaluation, inquiry.seed)
    background = choose_background(training, task.evaluation.background, inquiry.seed)
    full, explained_model = task.evaluation.quality == "full", DetectedScore(model)
    scores = explain(explained_model, data, background, task.evaluation, inquiry.name, inquiry.seed, full=full)
    return replace(report, explanations=scores)


def explained(
    model: MassDetector, data: SiteData, task: TaskConfig, inquiry: Inquiry, training: SiteData
) -> dict[str, ExplanationScore]:
    """Explanations of the surest box's score, against the doctors' boxes."""
    background = choose_background(training, task.evaluation.background, inquiry.seed)
    return explain(DetectedScore(model), data, background, task.evaluation, inquiry.name, inquiry.seed)
