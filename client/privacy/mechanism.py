r"""The mechanism of a private step: clip each patient's gradient, add them up, add noise once, take the mean.

:math:`\tilde g = \frac{1}{q n} \Bigl( \sum_{i \text{ drawn}} g_i \min\bigl(1, C / \lVert g_i \rVert_2\bigr)
+ \mathcal N(0, \sigma^2 C^2 I) \Bigr)`

with one gradient :math:`g_i` a patient. Source: Abadi et al. 2016, "Deep Learning with Differential Privacy",
algorithm 1; the mean is over the *expected* number of patients, :math:`q n`, for the number drawn is a secret too.

Sums are kept in float64, as is the noise: in float32 the rounding of a sum can depend on all that is in it by more
than one patient may add (Casacuberta et al. 2022, "Widespread Underestimation of Sensitivity in Differentially Private
Libraries", arXiv 2207.10635).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from common.entropy import Entropy

MARGIN = 2.0**-40
"""Relative; what is cut off beyond the bound, so that rounding to float64 never passes it."""


@dataclass
class ClippedSum:
    """Sum of the clipped gradients of the patients added so far.

    ``total``: float64, shaped as the parameters. ``losses``: of the same patients.
    """

    bound: float
    total: list[torch.Tensor]
    losses: list[float]
    not_finite: int = 0
    """Patients whose gradient was infinite or no number; they add nothing."""

    @classmethod
    def of_nobody(cls, parameters: Sequence[torch.Tensor], bound: float) -> ClippedSum:
        """The sum before the first patient."""
        return cls(bound, [torch.zeros_like(value, dtype=torch.float64) for value in parameters], [])

    def add(self, gradients: Sequence[torch.Tensor], loss: float) -> None:
        """Add one patient's gradient, shaped as the parameters, and loss."""
        factor = clip_factor(norm_of(gradients), self.bound)
        if factor is None:
            self.not_finite += 1
        else:
            for total, gradient in zip(self.total, gradients, strict=True):
                total.add_(gradient, alpha=factor)
            self.losses.append(loss)


def norm_of(gradients: Sequence[torch.Tensor]) -> float:
    """Euclidean norm over all tensors, in float64."""
    return float(torch.stack([torch.linalg.vector_norm(item, dtype=torch.float64) for item in gradients]).norm())


def clip_factor(norm: float, bound: float) -> float | None:
    """What a gradient is multiplied by so that its norm is at most ``bound``; ``None`` of one that is not finite."""
    if not norm < float("inf"):
        return None
    return 1.0 if norm <= bound else bound / norm * (1 - MARGIN)


def noisy_mean(
    clipped: ClippedSum, noise_multiplier: float, expected_patients: float, entropy: Entropy
) -> list[torch.Tensor]:
    """Mean gradient of a step, with noise; float64, shaped as the parameters.

    Args:
        clipped: of those who were drawn; possibly nobody, whom the noise hides as well.
        noise_multiplier: standard deviation of the noise over ``clipped.bound``.
        expected_patients: number of patients times the probability of drawing one.
        entropy: of the noise.
    """
    deviation = noise_multiplier * clipped.bound
    return [
        (total + deviation * entropy.normal(total.numel()).view(total.shape).to(total.device)) / expected_patients
        for total in clipped.total
    ]
