"""SCAFFOLD's arithmetic, the same at a site and at the server.

Source: Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", arXiv 1910.06378,
with option II. Checked against other people's code (MediaBrain-SJTU/FedDG-GA, ``network/FedOptimizer/Scaffold.py``,
where the server's variate is likewise the mean of the sites' under their weights); none by the authors was found.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from common.packing import Tensors

PREFIX = "variate/"
"""Before the names of the server's control variate where it travels beside the model."""


def beside(model: Mapping[str, torch.Tensor], variate: Mapping[str, torch.Tensor]) -> Tensors:
    """Model and server's variate as they travel: one set of tensors."""
    return {**model, **{f"{PREFIX}{name}": value for name, value in variate.items()}}


def parted(tensors: Mapping[str, torch.Tensor]) -> tuple[Tensors, Tensors]:
    """Undo :func:`beside`."""
    model = {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}
    return model, {name.removeprefix(PREFIX): tensors[name] for name in tensors if name.startswith(PREFIX)}


def change(
    update: Mapping[str, torch.Tensor],
    variate: Mapping[str, torch.Tensor],
    steps: int,
    rates: Mapping[str, float],
) -> Tensors:
    r"""By what a site's control variate changes in a round, float32.

    Option II: :math:`c_k^+ = c_k - c + \frac{1}{K\eta}(x - y_k)`, so with the update
    :math:`\Delta_k = y_k - x` that travels anyway :math:`c_k^+ - c_k = -c - \Delta_k / (K\eta)`.
    Site and server compute it from the same numbers (the update as it was rounded for the wire), so it need
    not travel, and the server's variate stays the mean of the sites'.

    Args:
        update: model after minus model before, as it travels.
        variate: the server's c of the round.
        steps: K, of plain SGD, at least 1.
        rates: learning rate of every parameter that has a variate.

    Raises:
        ValueError: no steps.
    """
    if steps < 1:
        raise ValueError("a control variate needs at least one step")
    return {
        name: (-variate[name].double() - update[name].double() / (steps * rate)).float() for name, rate in rates.items()
    }


def moved(variate: Mapping[str, torch.Tensor], mean_change: Mapping[str, torch.Tensor], share: float) -> Tensors:
    r"""The server's variate after a round: :math:`c + \frac{|S|}{N} \sum_{k \in S} w_k (c_k^+ - c_k)`.

    With equal weights :math:`w_k = 1/|S|` this is the paper's. With weights by patients c is the mean of
    the sites' variates by patients when all take part.

    Args:
        variate: c.
        mean_change: weighted mean over the sites that took part.
        share: of all sites, so many took part.
    """
    return {name: value + share * mean_change[name] for name, value in variate.items()}
