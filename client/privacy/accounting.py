"""What a sequence of noisy steps costs a patient: epsilon at a delta, by Opacus' accountants. Pure functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from functools import lru_cache

from client.privacy.plan import Steps
from common.errors import AccountingError

ACCOUNTANTS = ("prv", "rdp")
EPSILON_ERROR = 0.01
"""Of ``prv``, in Opacus; its answer is above the true one by about as much."""
FINEST = 3e7
"""Points at which ``prv`` may ask for a distribution: some gigabytes, some ten seconds."""
_History = tuple[tuple[float, float, int], ...]
"""As Opacus keeps it: noise multiplier, sample rate, number of steps."""


def epsilon_of(steps: Iterable[Steps], delta: float, accountant: str = "prv") -> float:
    r"""Smallest :math:`\varepsilon` that Opacus can show of these steps, one after the other on the same patients.

    Each step is a Poisson-subsampled Gaussian mechanism; two data sets are neighbours when one of them has one patient
    more. ``prv`` composes privacy loss random variables numerically (Gopi, Lee & Wutschitz 2021, arXiv 2106.02848) and
    gives an upper bound to 0.01; ``rdp`` composes Renyi divergences (Mironov et al. 2019, arXiv 1908.10530) and is
    looser. Where ``prv`` would need more memory than there is (epsilon in the hundreds, or millions of steps), the
    bound of ``rdp`` is given instead. Steps that are alike are counted together, wherever they stand: the order makes
    no difference to what they cost.

    Args:
        steps: of rounds, in any order; none cost nothing.
        delta: between 0 and 1.
        accountant: ``prv`` or ``rdp``.

    Raises:
        ValueError: no such accountant, or delta out of range.
        AccountingError: the accountant cannot say.
    """
    if accountant not in ACCOUNTANTS or not 0 < delta < 1:
        raise ValueError(f"no epsilon at delta {delta} by the accountant '{accountant}'")
    counts: dict[tuple[float, float], int] = {}
    for item in steps:
        key = (item.noise_multiplier, item.sample_rate)
        counts[key] = counts.get(key, 0) + item.steps
    history = tuple(sorted((noise, rate, number) for (noise, rate), number in counts.items() if number and rate))
    if not history:
        return 0.0
    if any(noise <= 0 for noise, _, _ in history):
        return float("inf")
    return _epsilon(history, delta, accountant)


@lru_cache(maxsize=4096)
def _epsilon(history: _History, delta: float, accountant: str) -> float:
    from opacus.accountants import create_accountant  # and with it all of torch, which most processes never need

    account = create_accountant(mechanism=accountant)
    account.history = list(history)
    with (
        warnings.catch_warnings()
    ):  # of orders at the edge, and of a logarithm of 0 where every patient is in each step
        warnings.simplefilter("ignore")
        try:
            if accountant == "prv" and _points(history, delta) > FINEST:
                return _epsilon(history, delta, "rdp")
            return float(account.get_epsilon(delta, eps_error=EPSILON_ERROR))
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise AccountingError(
                f"Opacus' accountant '{accountant}' cannot say what {sum(item[2] for item in history)} steps cost "
                f"at delta {delta:g}: {error}",
                do="take the other one: privacy.accountant=rdp",
            ) from error


def _points(history: _History, delta: float) -> float:
    """How many points Opacus' ``prv`` would take: twice the domain over the mesh (Gopi et al. 2021, theorem 5.5)."""
    error = delta / 1000
    mesh = EPSILON_ERROR / math.sqrt(sum(item[2] for item in history) * math.log(12 / error) / 2)
    return 2 * (_epsilon(history, error / 4, "rdp") + 3) / mesh
