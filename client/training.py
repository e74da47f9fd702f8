"""Local training on one site's patients: the same loop for every task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from client.compute import Compute, choose
from client.objectives import Backward, Guidance, backward_of, penalty_of
from client.privacy.losses import PatientLosses
from client.privacy.plan import Steps
from client.privacy.training import compute_of, gradients, require_plan, require_private
from client.randomness import generators
from client.tasks.work import work_of
from common import progress
from common.configuration import TaskConfig, TrainingConfig
from common.data.dataset import SiteData
from common.data.sampling import Indices
from common.entropy import Entropy
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
    """Mean loss over the steps, their number, the time they took, and the patients that count for the site's weight.

    ``plan``: what was done, where training was private; its loss is 0 when chance drew nobody at all.
    """

    loss: float
    steps: int
    seconds: float
    counted: int
    plan: Steps | None = None


PLAIN = Guidance()


def train(
    model: Network,
    data: SiteData,
    task: TaskConfig,
    part: Round,
    plan: Steps | None = None,
    entropy: Entropy | None = None,
    *,
    guidance: Guidance = PLAIN,
) -> TrainingResult:
    """Train ``model`` in place for ``task.training.local_epochs`` epochs over the training breasts in ``data``.

    Args:
        model: starts from the global parameters.
        data: the site's training patients.
        task: of the run; private with ``task.privacy.unit`` ``patient``.
        part: of the run.
        plan: of the round, where its cost is in the site's books; by default a plan for the whole run is made.
        entropy: only for tests of private training, which must repeat.
        guidance: what steers it besides its data.

    Raises:
        OneClassSiteError, NoLesionError: there is nothing to learn from, as the task sees it.
        MixedPatientsError, UnprovenNetworkError: the network cannot be trained privately as the task asks.
        DeltaError: delta is too large for so few patients.
        ValueError: ``plan`` is of other work.
    """
    training, work = task.training, work_of(task)
    data = work.trainable(data, task)
    begun = time.monotonic()
    model.train()
    plan = require_plan(plan, task, data.patients, part.of)
    if plan is not None:
        require_private(model, task)
    compute = choose(training) if plan is None else compute_of(task, choose(training))
    compute.place_model(model)
    if 0 < training.fix_statistics_after < part.number:
        fix_statistics(model)
    optimizer = _optimizer(model, training, part)
    learning = _Learning(model, data, task, compute)
    steps: Iterator[float | None]
    if plan is None:
        random = generators(part.seed, part.site, part.number, guidance.purpose)
        batches, dropout_seed = _batches(data, task, random.numpy), random.dropout_seed
        backward = backward_of(task.method, model, guidance, random.torch)
        number, steps = len(batches), _plain_gradients(learning, batches, backward, random.torch)
    else:
        entropy = entropy or Entropy()
        dropout_seed = entropy.seed()
        number, steps = plan.steps, _private_gradients(learning, plan, guidance, entropy)
    losses: list[float] = []
    with torch.random.fork_rng(), progress.track(f"{part.site}: training", number) as advance:
        torch.manual_seed(dropout_seed)
        for loss in steps:
            losses += [] if loss is None else [loss]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            advance(1)
    model.to("cpu")
    seconds = time.monotonic() - begun
    counted = work.counted(data, task) if plan is None else data.patients
    mean = sum(losses) / len(losses) if losses else 0.0
    return TrainingResult(mean, number, seconds, counted, plan)


@dataclass(frozen=True)
class _Learning:
    model: Network
    data: SiteData
    task: TaskConfig
    compute: Compute

    def mean_loss(self, indices: Indices, random: torch.Generator) -> torch.Tensor:
        """Of a batch of breasts; every call augments anew."""
        work = work_of(self.task)
        return work.losses(self.model, self.compute, self.data, indices, self.task, random).values.mean()


def _optimizer(model: Network, training: TrainingConfig, part: Round) -> torch.optim.Optimizer:
    rate, groups = learning_rate(training, part.number, part.of), parameter_groups(model, training)
    optimizer: torch.optim.Optimizer
    if training.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=training.momentum)
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=training.weight_decay)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr"] / training.learning_rate
    return optimizer


def _batches(data: SiteData, task: TaskConfig, random: np.random.Generator) -> list[Indices]:
    size = task.training.batch_size
    epochs = (work_of(task).epoch(data, task, random) for _ in range(task.training.local_epochs))
    return [order[start : start + size] for order in epochs for start in range(0, len(order), size)]


def _plain_gradients(
    learning: _Learning, batches: list[Indices], backward: Backward, random: torch.Generator
) -> Iterator[float]:
    """Leave the gradient of one batch after the other in the model's parameters; gives the batches' losses."""
    for indices in batches:
        yield backward(partial(learning.mean_loss, indices, random))


def _private_gradients(
    learning: _Learning, plan: Steps, guidance: Guidance, entropy: Entropy
) -> Iterator[float | None]:
    """The same of private steps; what a method adds to the loss depends on no patient and is added after the noise."""
    random = torch.Generator().manual_seed(entropy.seed())
    task, model = learning.task, learning.model
    losses = PatientLosses(work_of(task), model, learning.compute, learning.data, task, random)
    extra_of = penalty_of(task.method, model, guidance)
    for loss in gradients(losses, plan, entropy):
        extra = extra_of()
        if extra is not None:
            torch.autograd.backward(extra)
        yield loss
