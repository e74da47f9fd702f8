"""How the model's scores came out at this site: of test breasts with a score like this one, how many were malignant."""

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
        """The up to :data:`NEIGHBOURS` test breasts nearest in score; None without test breasts.

        Source of the interval: Wilson 1927, J. Am. Stat. Assoc. 22:209.
        """
        scores = np.concatenate([self.malignant, self.others])
        if not len(scores):
            return None
        nearest = np.argsort(np.abs(scores - probability), kind="stable")[:NEIGHBOURS]
        count = int(np.count_nonzero(nearest < len(self.malignant)))
        interval = binomtest(count, len(nearest)).proportion_ci(method="wilson")
        return Alike(len(nearest), count, float(interval.low), float(interval.high))
