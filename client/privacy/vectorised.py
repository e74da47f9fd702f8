"""Gradients of single patients by Opacus, several patients in one pass: faster for small images, more memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from opacus.grad_sample import GradSampleHooks
from torch import nn

from client.privacy.losses import PatientLosses
from client.privacy.mechanism import ClippedSum
from client.privacy.out_of_place import out_of_place
from common.configuration import TaskConfig
from common.data.sampling import Indices
from common.errors import PatientGradientError, UnprovenNetworkError

PROVEN = {
    "classifier": (
        "resnet8", "resnet10", "resnet18", "resnet50", "densenet121", "efficientnet_b0", "efficientnet_lite0",
    ),
    "detector": ("resnet8", "resnet10", "resnet18", "resnet50"),
}  # fmt: skip
"""Backbones by task for which ``tests/client/privacy/test_engines.py`` compares this engine with a plain loop."""
TOLERANCE = 1e-3
"""Relative, of the gradients' sum: right ones are off by 1e-5 or less, wrong ones by 1e-2 or more."""


def require_proven(task: TaskConfig) -> None:
    """Refuse a network whose gradients nobody has compared.

    Raises:
        UnprovenNetworkError: as said.
    """
    proven = PROVEN[task.task]
    if task.model.backbone not in proven:
        raise UnprovenNetworkError(
            f"vectorised gradients of single patients are not proven for a {task.task} on {task.model.backbone}",
            where="privacy.engine, model.backbone",
            do=f"set privacy.engine=accumulated, or choose one of: {', '.join(proven)}",
        )


class _Hooks(GradSampleHooks):  # type: ignore[misc]
    """Opacus' hooks, with inputs and gradients contiguous: of others it silently takes wrong ones."""

    def rearrange_grad_samples(self, **arguments: Any) -> tuple[list[torch.Tensor], torch.Tensor]:
        activations, backprops = super().rearrange_grad_samples(**arguments)
        return [item.contiguous() for item in activations], backprops.contiguous()


@contextmanager
def watched(model: nn.Module) -> Iterator[None]:
    """Let every backward pass through ``model`` leave the gradients of single images in ``grad_sample`` of its
    parameters, beside the sum in ``grad``."""
    with out_of_place(model), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")  # images need no gradient
        hooks = _Hooks(model, loss_reduction="sum", strict=False)
        try:
            yield
        finally:
            hooks.cleanup()
            _forget(model)


def _forget(model: nn.Module) -> None:
    """Remove what the hooks keep of a pass: what they did not see to its end must not reach the next one."""
    for module in model.modules():
        for name in ("activations", "max_batch_len"):
            if hasattr(module, name):
                delattr(module, name)
    for parameter in model.parameters():
        parameter.grad = None
        for name, fresh in (("grad_sample", None), ("_forward_counter", 0)):
            if hasattr(parameter, name):
                setattr(parameter, name, fresh)
        if hasattr(parameter, "_current_grad_sample"):
            delattr(parameter, "_current_grad_sample")


def chunks(patients: Sequence[Indices], breasts: int) -> list[list[Indices]]:
    """Neighbouring patients together, at most so many breasts, or one patient that has more."""
    found: list[list[Indices]] = []
    room = 0
    for patient in patients:
        if len(patient) > room:
            found.append([])
            room = breasts
        found[-1].append(patient)
        room -= len(patient)
    return found


def add_patients(
    clipped: ClippedSum,
    patients: Sequence[Indices],
    losses: PatientLosses,
    parameters: Sequence[torch.Tensor],
    augmentations: int,
) -> None:
    """Add the clipped gradients of the patients to ``clipped``; the model must be :func:`watched`.

    As many at a time as have ``training.batch_size`` breasts. The gradients of a patient's images, and of their
    ``augmentations`` augmented copies, are added up before they are clipped as one.

    Raises:
        PatientGradientError: the gradients of single images do not add up to the one that autograd finds.
    """
    for some in chunks(patients, losses.task.training.batch_size):
        owner = losses.patient_of_image(some)
        gradients = [torch.zeros(len(some), *value.shape, device=value.device) for value in parameters]
        mean = torch.zeros(len(some))
        for _ in range(augmentations):
            found = losses(some) / augmentations
            torch.autograd.backward(found.sum())
            _require_whole(parameters)
            for total, value in zip(gradients, parameters, strict=True):
                of_images = getattr(value, "grad_sample", None)
                if of_images is not None:
                    total.index_add_(0, owner.to(total.device), of_images)
            _forget(losses.model)
            mean += found.detach().cpu()
        for number in range(len(some)):
            clipped.add([total[number] for total in gradients], mean[number].item())


def _require_whole(parameters: Sequence[torch.Tensor]) -> None:
    """See that the gradients of single images add up, over all parameters.

    Raises:
        PatientGradientError: they do not.
    """
    missing, norm = 0.0, 0.0
    for value in parameters:
        if value.grad is None:
            continue
        of_images = getattr(value, "grad_sample", None)
        of_images = torch.zeros_like(value.grad)[None] if of_images is None else of_images
        missing += float((value.grad - of_images.sum(dim=0)).double().pow(2).sum())
        norm += max(float(part.double().pow(2).sum()) for part in (value.grad, of_images))
    if missing > TOLERANCE**2 * norm:
        raise PatientGradientError(
            f"gradients of single images do not add up: off by {(missing / norm) ** 0.5:.2g} of their size",
            where="privacy.engine=vectorised",
            do="set privacy.engine=accumulated, and report this with your versions of torch and opacus",
        )
