"""The server's step: the mean update is a pseudo-gradient (Reddi et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from common.packing import Tensors


@dataclass
class OptimizerState:
    """What the server's optimiser carries from round to round; saved in the checkpoint."""

    velocity: Tensors = field(default_factory=dict)


def step(
    model: Mapping[str, torch.Tensor],
    update: Mapping[str, torch.Tensor],
    state: OptimizerState,
    *,
    rule: str,
    learning_rate: float,
    momentum: float,
    trained: frozenset[str],
) -> tuple[Tensors, OptimizerState]:
    r"""Move the model along the mean update.

    ``average``: :math:`w \leftarrow w + \eta \Delta` (FedAvg for :math:`\eta = 1`).
    ``momentum``: :math:`v \leftarrow \beta v + \Delta,\; w \leftarrow w + \eta v`
    (FedAvgM, Hsu et al. 2019, arXiv 1909.06335, section 4.3).

    Normalisation statistics are not gradients: tensors outside ``trained`` are averaged plainly
    whatever the rule. Tensors without an update (integer counters) stay as they are.

    Args:
        model: current global tensors.
        update: mean update of the shared tensors.
        state: from the previous round.
        rule: ``average`` or ``momentum``.
        learning_rate: eta.
        momentum: beta.
        trained: names of the parameters proper.

    Raises:
        ValueError: unknown rule.
    """
    if rule not in ("average", "momentum"):
        raise ValueError(f"unknown server optimizer '{rule}'")
    moved: Tensors = {}
    velocity: Tensors = {}
    for name, value in model.items():
        if name not in update:
            moved[name] = value.clone()
            continue
        change, rate = update[name].float(), 1.0
        if name in trained:
            rate = learning_rate
            if rule == "momentum":
                previous = state.velocity.get(name)
                change = change if previous is None else momentum * previous + change
                velocity[name] = change
        moved[name] = (value.float() + rate * change).to(value.dtype)
    return moved, OptimizerState(velocity)
