"""Local training of the classifier on one site's patients."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from client.compute import Compute, choose
from client.objectives import penalty
from client.randomness import generators
from common import progress
from common.configuration import TaskConfig, TrainingConfig
from common.data.augmentation import augment
from common.data.dataset import SiteData, make_batch
from common.data.sampling import balanced_epoch, plain_epoch
from common.errors import OneClassSiteError
from common.models.classifier import BreastClassifier, parameter_groups, pool_views
from common.models.normalisation import fix_statistics


@dataclass(frozen=True)
class Round:
    """Which part of which run is being trained."""

    number: int
    """From 1."""
    of: int
    seed: int
    site: str


@dataclass(frozen=True)
class TrainingResult:
    """Mean loss over the steps, their number and the time they took."""

    loss: float
    steps: int
    seconds: float


def learning_rate(training: TrainingConfig, number: int, rounds: int) -> float:
    """Learning rate of a round: linear warm-up, then constant or half a cosine down to a tenth.

    Args:
        training: base rate, schedule, warm-up rounds.
        number: round, from 1.
        rounds: rounds in all.
    """
    base, warmup = training.learning_rate, min(training.warmup_rounds, rounds - 1)
    if number <= warmup:
        return base * number / (warmup + 1)
    if training.schedule == "constant":
        return base
    done = (number - warmup - 1) / max(1, rounds - warmup - 1)
    return base * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def train(model: BreastClassifier, data: SiteData, task: TaskConfig, part: Round) -> TrainingResult:
    """Train ``model`` in place for ``task.training.local_epochs`` epochs over the training breasts in ``data``.

    Raises:
        OneClassSiteError: the training patients are all of one class.
    """
    training, compute = task.training, choose(task.training)
    if data.targets.min() == data.targets.max():
        raise OneClassSiteError(
            f"the training patients of {part.site} are all of one class",
            where=part.site,
            do="add patients of the other class, lower the fractions held back, or leave the site out with sites=[...]",
        )
    begun = time.monotonic()
    random = generators(part.seed, part.site, part.number, "training")
    compute.place_model(model)
    model.train()
    if 0 < training.fix_statistics_after < part.number:
        fix_statistics(model)
    anchor = {name: value.detach().clone() for name, value in model.named_parameters()}
    rate = learning_rate(training, part.number, part.of)
    groups = parameter_groups(model, training)
    optimizer = torch.optim.AdamW(groups, weight_decay=training.weight_decay)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr"] / training.learning_rate
    epoch_of = balanced_epoch if training.balanced_sampling else (lambda targets, rng: plain_epoch(len(targets), rng))
    batches = [
        order[start : start + training.batch_size]
        for order in (epoch_of(data.targets, random.numpy) for _ in range(training.local_epochs))
        for start in range(0, len(order), training.batch_size)
    ]
    losses: list[float] = []
    with torch.random.fork_rng(), progress.track(f"{part.site}: training", len(batches)) as advance:
        torch.manual_seed(random.dropout_seed)
        for indices in batches:
            batch = make_batch(data, indices)
            images = augment(batch.images, training.augmentation, random.torch)
            loss = _loss(model, compute, images, batch.breast_of_image, batch.targets)
            losses.append(loss.item())
            extra = penalty(task.method, model, anchor)
            torch.autograd.backward(loss if extra is None else loss + extra)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            advance(1)
    model.to("cpu")
    return TrainingResult(sum(losses) / len(losses), len(losses), time.monotonic() - begun)


def _loss(
    model: BreastClassifier,
    compute: Compute,
    images: torch.Tensor,
    breast_of_image: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    """Binary cross-entropy of each breast's pooled logit."""
    with compute.autocast():
        views = model(compute.place(images))
    logits = pool_views(views.float(), breast_of_image.to(compute.device), len(targets))
    return functional.binary_cross_entropy_with_logits(logits, targets.to(compute.device))
