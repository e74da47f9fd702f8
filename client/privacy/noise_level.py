"""How much noise a run needs at a site, so that it costs no patient more than was agreed."""

from __future__ import annotations

import warnings
from functools import lru_cache

from opacus.accountants.utils import get_noise_multiplier

from client.privacy.plan import steps_of_round
from common.configuration import PrivacyConfig
from common.errors import ConfigurationError, DeltaError

SHARE_OF_DELTA = 0.1
"""Delta where none is set, as a share of one over the number of patients."""
TOLERANCE = 0.01
"""The noise found costs at most so much less than what was agreed, as a share of it (at most so much in all)."""


def delta_of(privacy: PrivacyConfig, patients: int) -> float:
    """Delta of a site's guarantee: what is set, or a tenth of one over its number of patients.

    Raises:
        DeltaError: not less than one over ``patients``: publishing one patient's data at random would keep such a
            promise (Dwork & Roth 2014, "The Algorithmic Foundations of Differential Privacy", section 2.3).
    """
    if privacy.delta is None:
        return SHARE_OF_DELTA / patients
    if privacy.delta >= 1 / patients:
        raise DeltaError(
            f"privacy.delta = {privacy.delta:g} is too much for {patients} patients",
            where="privacy.delta",
            do=f"choose less than {1 / patients:.2g}, or leave it out: each site then takes a tenth of 1/patients",
        )
    return privacy.delta


def noise_multiplier_of(privacy: PrivacyConfig, patients: int, local_epochs: int, rounds: int) -> float:
    """Noise of every step, over ``privacy.clip_norm``: what is set, or the least that keeps a whole run of ``rounds``
    at or under ``privacy.epsilon``.

    Args:
        privacy: of a run that trains privately.
        patients: those who are trained on.
        local_epochs: of a round.
        rounds: of the run, in all of which the site takes part.

    Raises:
        DeltaError: as :func:`delta_of`.
        ConfigurationError: neither noise nor epsilon is set, or no noise is enough for it.
    """
    delta = delta_of(privacy, patients)
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    if privacy.epsilon is None:
        raise ConfigurationError(
            "private training needs a budget", where="privacy", do="set privacy.epsilon or privacy.noise_multiplier"
        )
    once = steps_of_round(privacy, local_epochs, patients, 0.0)
    return _solve(privacy.epsilon, delta, once.sample_rate, rounds * once.steps, privacy.accountant)


@lru_cache(maxsize=256)
def _solve(epsilon: float, delta: float, sample_rate: float, steps: int, accountant: str) -> float:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bounds that the search passes through
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=sample_rate,
                    steps=steps,
                    accountant=accountant,
                    epsilon_tolerance=TOLERANCE * min(1.0, epsilon),
                )
            )
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"the accountant finds no noise that keeps {steps} steps under epsilon {epsilon:g}",
            where="privacy.epsilon, privacy.accountant",
            do="choose a larger epsilon, fewer rounds or epochs, or set privacy.noise_multiplier",
        ) from error
