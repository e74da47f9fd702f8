"""The server's step: the mean update is a pseudo-gradient (Reddi et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from common.packing import Tensors

RULES = ("average", "momentum", "adam", "yogi")


@dataclass
class OptimizerState:
    """What the server's optimiser carries from round to round; saved in the checkpoint."""

    velocity: Tensors = field(default_factory=dict)
    """v of ``momentum``; the first moment m of ``adam`` and ``yogi``."""
    square: Tensors = field(default_factory=dict)
    """The second moment of ``adam`` and ``yogi``."""


def step(
    model: Mapping[str, torch.Tensor],
    update: Mapping[str, torch.Tensor],
    state: OptimizerState,
    *,
    rule: str,
    learning_rate: float,
    momentum: float,
    trained: frozenset[str],
    beta2: float = 0.99,
    tau: float = 1e-3,
) -> tuple[Tensors, OptimizerState]:
    r"""Move the model along the mean update.

    ``average``: :math:`w \leftarrow w + \eta \Delta` (FedAvg for :math:`\eta = 1`).
    ``momentum``: :math:`v \leftarrow \beta v + \Delta,\; w \leftarrow w + \eta v`
    (FedAvgM, Hsu et al. 2019, arXiv 1909.06335, section 4.3).
    ``adam``, ``yogi``: :math:`m \leftarrow \beta_1 m + (1 - \beta_1) \Delta` and
    :math:`w \leftarrow w + \eta m / (\sqrt v + \tau)` with
    :math:`v \leftarrow \beta_2 v + (1 - \beta_2) \Delta^2` (``adam``) or
    :math:`v \leftarrow v - (1 - \beta_2) \Delta^2 \,\mathrm{sign}(v - \Delta^2)` (``yogi``)
    (FedAdam and FedYogi, Reddi et al. 2021, arXiv 2003.00295, algorithm 2).
    As there, m begins at 0, v at :math:`\tau^2`, and neither is corrected for its beginning: ``torch.optim.Adam``
    corrects both and cannot be told not to, so the formula stands here.

    Normalisation statistics are not gradients: tensors outside ``trained`` are averaged plainly
    whatever the rule. Tensors without an update (integer counters) stay as they are.

    Args:
        model: current global tensors.
        update: mean update of the shared tensors.
        state: from the previous round.
        rule: one of :data:`RULES`.
        learning_rate: eta.
        momentum: beta, or beta1.
        trained: names of the parameters proper that all sites have in common.
        beta2: of the second moment.
        tau: adaptivity.

    Raises:
        ValueError: unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"unknown server optimizer '{rule}'")
    moved, after = {}, OptimizerState()
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
                after.velocity[name] = change
            elif rule != "average":
                first = momentum * state.velocity.get(name, torch.zeros_like(change)) + (1.0 - momentum) * change
                second = state.square.get(name, torch.full_like(change, tau**2))
                second = _second_moment(rule, second, change.square(), beta2)
                after.velocity[name], after.square[name] = first, second
                change = first / (second.sqrt() + tau)
        moved[name] = (value.float() + rate * change).to(value.dtype)
    return moved, after


def _second_moment(rule: str, second: torch.Tensor, squared: torch.Tensor, beta2: float) -> torch.Tensor:
    if rule == "adam":
        return beta2 * second + (1.0 - beta2) * squared
    return second - (1.0 - beta2) * squared * torch.sign(second - squared)
