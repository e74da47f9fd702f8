"""Which parameters learn how fast, and which of them decay."""

from __future__ import annotations

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
