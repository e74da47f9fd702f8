"""Which parameters learn how fast, at which round, and which of them decay."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from common.configuration import TrainingConfig


def parameter_groups(model: nn.Module, training: TrainingConfig) -> list[dict[str, Any]]:
    """Parameters for the optimiser: what is no backbone learns faster by its factor; biases and norms do not decay.

    Frozen parameters are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((not name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    factor = training.head_learning_rate_factor
    return [
        {
            "params": parameters,
            "lr": training.learning_rate * (factor if is_head else 1.0),
            "weight_decay": training.weight_decay if decays else 0.0,
        }
        for (is_head, decays), parameters in groups.items()
    ]


def learning_rate(training: TrainingConfig, number: int, rounds: int) -> float:
    """Learning rate of a round: linear warm-up, then constant or half a cosine down to a tenth.

    Args:
        training: base rate, schedule, warm-up rounds.
        number: round, from 1.
        rounds: rounds in all.
    """
    base, warmup = training.learning_rate, min(training.warmup_rounds, rounds - 1)
    if number <= warmup:
        return base * number / (warmup + 1)
    if training.schedule == "constant":
        return base
    done = (number - warmup - 1) / max(1, rounds - warmup - 1)
    return base * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def relative_rates(model: nn.Module, training: TrainingConfig) -> dict[str, float]:
    """By what factor of the round's learning rate each parameter that is not frozen learns."""
    return {
        name: 1.0 if name.startswith("backbone.") else training.head_learning_rate_factor
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
