"""The classifier at a site: is there a malignancy in this breast?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from client.compute import Compute
from client.evaluation import measure as measured
from client.evaluation import summarise
from client.explanation.background import choose_background
from client.explanation.report import draw_gallery, explain
from client.inference import predict
from client.site import Site
from client.tasks.inquiry import Inquiry
from client.tasks.losses import Losses
from common.configuration import TaskConfig
from common.data.augmentation import augment
from common.data.dataset import SiteData, make_batch
from common.data.sampling import Indices, balanced_epoch, plain_epoch
from common.errors import OneClassSiteError
from common.models.classifier import BreastClassifier, pool_views
from common.protocol import EvaluationReport, ExplanationScore


def trainable(data: SiteData, task: TaskConfig) -> SiteData:
    """All breasts.

    Raises:
        OneClassSiteError: the training patients are all of one class.
    """
    if len(set(data.targets.tolist())) < 2:
        raise OneClassSiteError(
            f"the training patients of {data.site} are all of one class",
            where=data.site,
            do="add patients of the other class, lower the fractions held back, or leave the site out with sites=[...]",
        )
    return data


def kinds(data: SiteData, task: TaskConfig) -> npt.NDArray[np.int64]:
    """Breasts with a malignancy."""
    return data.targets


def counted(data: SiteData, task: TaskConfig) -> int:
    """All patients."""
    return data.patients


def epoch(data: SiteData, task: TaskConfig, random: np.random.Generator) -> Indices:
    """Every breast once, or both classes equally often."""
    if task.training.balanced_sampling:
        return balanced_epoch(data.targets, random)
    return plain_epoch(len(data.breasts), random)


def losses(
    model: BreastClassifier,
    compute: Compute,
    data: SiteData,
    indices: Indices,
    task: TaskConfig,
    random: torch.Generator,
) -> Losses:
    """Binary cross-entropy of each breast's pooled logit."""
    batch = make_batch(data, indices)
    images = augment(batch.images, task.training.augmentation, random)
    with compute.autocast():
        views = model(compute.place(images))
    logits = pool_views(views.float(), batch.breast_of_image.to(compute.device), len(batch.targets))
    targets = batch.targets.to(compute.device)
    values = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return Losses(values, torch.arange(len(targets)))


def validate(model: BreastClassifier, data: SiteData, task: TaskConfig, name: str) -> EvaluationReport:
    """Counts, loss and AUC."""
    return summarise(data, predict(model, data, task.training, name))


def measure(model: BreastClassifier, data: SiteData, task: TaskConfig, inquiry: Inquiry) -> EvaluationReport:
    """AUC, sensitivity, Brier score, calibration and ROC."""
    logits = predict(model, data, task.training, inquiry.name) + inquiry.prior_log_odds
    return measured(data, logits, task.evaluation, inquiry.seed)


def examine(
    model: BreastClassifier, data: SiteData, task: TaskConfig, inquiry: Inquiry, site: Site, training: SiteData
) -> EvaluationReport:
    """The same, with explanations scored against the doctors' boxes, and a gallery of them."""
    logits = predict(model, data, task.training, inquiry.name) + inquiry.prior_log_odds
    report = measured(data, logits, task.evaluation, inquiry.seed)
    background = choose_background(training, task.evaluation.background, inquiry.seed)
    draw_gallery(model, data, background, logits, task.evaluation, site)
    full = task.evaluation.quality == "full"
    scores = explain(model, data, background, task.evaluation, site.name, inquiry.seed, full=full)
    return replace(report, explanations=scores)


def explained(
    model: BreastClassifier, data: SiteData, task: TaskConfig, inquiry: Inquiry, training: SiteData
) -> dict[str, ExplanationScore]:
    """Explanations scored against the doctors' boxes."""
    background = choose_background(training, task.evaluation.background, inquiry.seed)
    return explain(model, data, background, task.evaluation, inquiry.name, inquiry.seed)
