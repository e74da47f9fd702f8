"""What is asked about a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Inquiry:
    """``name`` for progress bars, the ``seed`` of resampling, and the shift of logits that undoes balanced sampling
    (``EvaluateTask``)."""

    name: str
    seed: int
    prior_log_odds: float = 0.0
