"""How scores came out at this site: of test breasts with a score like this one, how many were malignant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

NEIGHBOURS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Alike:
    """The test breasts whose scores lie nearest."""

    breasts: int
    malignant: int
    low: float
    high: float
    """Wilson's 95 % interval of the share."""


@dataclass(frozen=True)
class Reliability:
    """Probabilities that the model gave the site's test breasts."""

    malignant: Floats
    others: Floats

    def alike(self, probability: float) -> Alike | None:
        """The up to :data:`NEIGHBOURS` test breasts nearest in score; None without test breasts."""
        scores = np.concatenate([self.malignant, self.others])
        found = nearest(scores, np.arange(len(scores)) < len(self.malignant), probability)
        return None if found is None else Alike(*found)


def nearest(scores: Floats, positive: npt.NDArray[np.bool_], value: float) -> tuple[int, int, float, float] | None:
    """Of the up to :data:`NEIGHBOURS` scores nearest to a value: how many they are, how many of them are positive, and
    Wilson's 95 % interval of that share; None without scores.

    Source of the interval: Wilson 1927, J. Am. Stat. Assoc. 22:209.
    """
    if not len(scores):
        return None
    places = np.argsort(np.abs(scores - value), kind="stable")[:NEIGHBOURS]
    count = int(np.count_nonzero(positive[places]))
    return len(places), count, *wilson(count, len(places))


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share."""
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
