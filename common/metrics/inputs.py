"""Refuses targets and scores from which no honest figure can be computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def require_scores(targets: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> None:
    """Check that there is one finite score a target, so that a diverged model cannot look like a poor one.

    Args:
        targets: ``(N,)``, 0 or 1.
        scores: ``(N,)``.

    Raises:
        ValueError: another shape, a target other than 0 and 1, a score that is NaN or infinite.
    """
    if targets.ndim != 1 or targets.shape != scores.shape:
        raise ValueError(f"targets {targets.shape} and scores {scores.shape} must be two lists of one length")
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(f"targets must be 0 or 1, found {np.setdiff1d(targets, (0, 1))[:5].tolist()}")
    finite = np.isfinite(scores)
    if not finite.all():
        raise ValueError(f"{np.count_nonzero(~finite)} of {len(scores)} scores are NaN or infinite")
