"""Private training: the gradients of a round's steps, each of which no patient can change by much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

from client.compute import Compute
from client.privacy import accumulated, vectorised
from client.privacy.losses import PatientLosses
from client.privacy.mechanism import ClippedSum, noisy_mean
from client.privacy.noise_level import noise_multiplier_of
from client.privacy.plan import Steps, steps_of_round
from client.privacy.sampling import draw, patients_of
from common import progress
from common.configuration import TaskConfig
from common.entropy import Entropy
from common.models.network import Network
from common.models.normalisation import require_separate


def plan_of(task: TaskConfig, patients: int, rounds: int) -> Steps | None:
    """What a round's private training will do at a site; ``None`` where training is not private.

    Args:
        task: of the run.
        patients: those who are trained on: of the task's ``trainable`` data.
        rounds: of the run.

    Raises:
        DeltaError, ConfigurationError: as ``noise_multiplier_of``.
    """
    if task.privacy.unit == "none":
        return None
    epochs = task.training.local_epochs
    noise = noise_multiplier_of(task.privacy, patients, epochs, rounds)
    return steps_of_round(task.privacy, epochs, patients, noise)


def require_plan(plan: Steps | None, task: TaskConfig, patients: int, rounds: int) -> Steps | None:
    """The plan that is in the site's books, or else one for the whole run; ``None`` where training is not private.

    Raises:
        ValueError: what is in the books is not what training will do.
        DeltaError, ConfigurationError: as :func:`plan_of`.
    """
    if plan is None:
        return plan_of(task, patients, rounds)
    real = steps_of_round(task.privacy, task.training.local_epochs, patients, plan.noise_multiplier)
    if task.privacy.unit == "none" or plan != real:
        raise ValueError(f"in the books are {plan}, training would do {real}")
    return plan


def compute_of(task: TaskConfig, compute: Compute) -> Compute:
    """How the task's engine computes: Opacus' hooks neither with channels last nor in mixed precision."""
    if task.privacy.engine == "accumulated":
        return compute
    return replace(compute, bf16=False, contiguous=True)


def require_private(model: Network, task: TaskConfig) -> None:
    """Refuse a network that cannot be trained privately, or not by the engine that is asked for.

    Args:
        model: in training mode.
        task: names the engine.

    Raises:
        MixedPatientsError: it mixes patients.
        UnprovenNetworkError: nobody has proven the engine's gradients for it.
    """
    require_separate(model)
    if task.privacy.engine == "vectorised":
        vectorised.require_proven(task)


def gradients(losses: PatientLosses, plan: Steps, entropy: Entropy) -> Iterator[float | None]:
    """Leave the noisy mean gradient of one step after the other in the model's parameters.

    Gives each time the mean loss of the patients who were drawn, ``None`` of nobody. The noise does not cover it.

    Args:
        losses: of patients, by the model that learns.
        plan: of the round.
        entropy: of drawing and noise.
    """
    privacy = losses.task.privacy
    patients = patients_of(losses.data)
    parameters = [value for value in losses.model.parameters() if value.requires_grad]
    is_vectorised = privacy.engine == "vectorised"
    add = vectorised.add_patients if is_vectorised else accumulated.add_patients
    not_finite = 0
    for _ in range(plan.steps):
        drawn = [patients[number] for number in draw(len(patients), plan.sample_rate, entropy)]
        clipped = ClippedSum.of_nobody(parameters, privacy.clip_norm)
        with vectorised.watched(losses.model) if is_vectorised else nullcontext():
            add(clipped, drawn, losses, parameters, privacy.augmentations)
        mean = noisy_mean(clipped, plan.noise_multiplier, plan.sample_rate * len(patients), entropy)
        for value, gradient in zip(parameters, mean, strict=True):
            value.grad = gradient.to(value.dtype)
        not_finite += clipped.not_finite
        yield sum(clipped.losses) / len(clipped.losses) if clipped.losses else None
    if not_finite:
        progress.say(f"{losses.data.site}: {not_finite} gradients of patients were not finite and added nothing")
