"""What one round's private training will do, in the numbers that an accountant needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.configuration import PrivacyConfig


@dataclass(frozen=True)
class Steps:
    """Noisy steps of one kind: each draws every patient with probability ``sample_rate``, independently, and adds
    noise of ``noise_multiplier`` times the largest norm that one patient's gradient may have."""

    noise_multiplier: float
    sample_rate: float
    steps: int


def steps_of_round(privacy: PrivacyConfig, local_epochs: int, patients: int, noise_multiplier: float) -> Steps:
    """Noisy steps of one round.

    Args:
        privacy: says how many patients are expected in a step.
        local_epochs: expected number of times that a patient is drawn.
        patients: those who are trained on: of ``trainable`` data, which may be fewer than a site's training patients.
        noise_multiplier: standard deviation of the noise over ``privacy.clip_norm``.
    """
    rate = min(1.0, privacy.patients_per_step / patients)
    return Steps(noise_multiplier, rate, local_epochs * math.ceil(patients / privacy.patients_per_step))
