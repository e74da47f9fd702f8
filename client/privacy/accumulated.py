"""Gradients of single patients by one backward pass each: right for every network that does not mix patients."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from client.privacy.losses import PatientLosses
from client.privacy.mechanism import ClippedSum
from common.data.sampling import Indices


def add_patients(
    clipped: ClippedSum,
    patients: Sequence[Indices],
    losses: PatientLosses,
    parameters: Sequence[torch.Tensor],
    augmentations: int,
) -> None:
    """Add the clipped gradients of the patients to ``clipped``, one after the other.

    A patient's gradient is the mean over ``augmentations`` augmented copies of all of its images, clipped as one
    (De et al. 2022, "Unlocking High-Accuracy Differentially Private Image Classification through Scale", arXiv
    2204.13650, section 3.2): copies cost no privacy.
    """
    for patient in patients:
        mean = [torch.zeros_like(value) for value in parameters]
        loss = 0.0
        for _ in range(augmentations):
            one = losses([patient])[0]
            for total, gradient in zip(mean, torch.autograd.grad(one, parameters, materialize_grads=True), strict=True):
                total.add_(gradient, alpha=1 / augmentations)
            loss += one.item() / augmentations
        clipped.add(mean, loss)
