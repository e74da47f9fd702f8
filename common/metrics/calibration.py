"""Do probabilities mean what they say: Brier score, calibration bins, expected calibration error.

Each refuses with ``ValueError`` what :func:`common.metrics.inputs.require_scores` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.metrics.inputs import require_scores

Targets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationBin:
    """Breasts of similar predicted probability: its mean, the share that was malignant, and how many."""

    mean_probability: float
    observed: float
    count: int


def brier_score(targets: Targets, probabilities: Floats) -> float:
    """Mean squared difference between probability and outcome; NaN without data.

    Args:
        targets: ``(N,)``, 0 or 1.
        probabilities: ``(N,)``, 0 to 1.

    Source: Brier 1950, Monthly Weather Review 78:1 (in the form for two classes, 0 to 1).
    """
    require_scores(targets, probabilities)
    return float(np.mean((probabilities - targets) ** 2)) if len(targets) else float("nan")


def calibration_bins(targets: Targets, probabilities: Floats, bins: int = 10) -> list[CalibrationBin]:
    """Bins of equal width over 0 to 1 that hold any breast, from low to high.

    Args:
        targets: ``(N,)``, 0 or 1.
        probabilities: ``(N,)``, 0 to 1; a bin holds its lower bound, the last also 1.
        bins: how many.
    """
    require_scores(targets, probabilities)
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(place):
        inside = place == number
        found.append(
            CalibrationBin(
                float(probabilities[inside].mean()), float(targets[inside].mean()), int(np.count_nonzero(inside))
            )
        )
    return found


def expected_calibration_error(targets: Targets, probabilities: Floats, bins: int = 10) -> float:
    """Mean gap between observed share and mean probability, bins weighted by size; NaN without data.

    Args:
        targets: ``(N,)``, 0 or 1.
        probabilities: ``(N,)``, 0 to 1.
        bins: of equal width.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    if not len(targets):
        return float("nan")
    gaps = (
        item.count * abs(item.observed - item.mean_probability)
        for item in calibration_bins(targets, probabilities, bins)
    )
    return sum(gaps) / len(targets)
