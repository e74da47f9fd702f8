"""Local training on one site's patients: the same loop for every task."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch

from client.compute import choose
from client.objectives import Guidance, backward_of
from client.randomness import generators
from client.tasks.work import work_of
from common import progress
from common.configuration import TaskConfig
from common.data.dataset import SiteData
from common.models.network import Network
from common.models.normalisation import fix_statistics
from common.models.parameter_groups import learning_rate, parameter_groups


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
    """Mean loss over the steps, their number, the time they took, and the patients that count for the site's weight."""

    loss: float
    steps: int
    seconds: float
    counted: int


PLAIN = Guidance()


def train(
    model: Network, data: SiteData, task: TaskConfig, part: Round, *, guidance: Guidance = PLAIN
) -> TrainingResult:
    """Train ``model`` in place for ``task.training.local_epochs`` epochs over the training breasts in ``data``.

    Raises:
        OneClassSiteError, NoLesionError: there is nothing to learn from, as the task sees it.
    """
    training, compute, work = task.training, choose(task.training), work_of(task)
    data = work.trainable(data, task)
    begun = time.monotonic()
    random = generators(part.seed, part.site, part.number, guidance.purpose)
    compute.place_model(model)
    model.train()
    if 0 < training.fix_statistics_after < part.number:
        fix_statistics(model)
    backward = backward_of(task.method, model, guidance, random.torch)
    rate = learning_rate(training, part.number, part.of)
    groups = parameter_groups(model, training)
    if training.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, momentum=training.momentum)
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=training.weight_decay)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr"] / training.learning_rate
    batches = [
        order[start : start + training.batch_size]
        for order in (work.epoch(data, task, random.numpy) for _ in range(training.local_epochs))
        for start in range(0, len(order), training.batch_size)
    ]
    losses: list[float] = []
    with torch.random.fork_rng(), progress.track(f"{part.site}: training", len(batches)) as advance:
        torch.manual_seed(random.dropout_seed)
        for indices in batches:
            losses.append(backward(partial(work.loss, model, compute, data, indices, task, random.torch)))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            advance(1)
    model.to("cpu")
    seconds, counted = time.monotonic() - begun, work.counted(data, task)
    return TrainingResult(sum(losses) / len(losses), len(losses), seconds, counted)
