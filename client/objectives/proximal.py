"""FedProx: what holds a site's model near the common one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from common.configuration import MethodConfig


def penalty(method: MethodConfig, model: nn.Module, anchor: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    r"""Term added to the loss, or ``None`` where the loss stands alone.

    ``proximal``: :math:`\frac{\mu}{2} \lVert w - w_{\text{global}} \rVert^2` over the parameters
    (FedProx, Li et al. 2020, arXiv 1812.06127, equation 2), with the gradient :math:`\mu (w - w_{\text{global}})`.
    ``ditto``: the model that travels is trained plainly; the term belongs to the personal one.

    Args:
        method: names objective and strength.
        model: the network being trained.
        anchor: the global parameters it started from, by name; parameters that are missing are not held.

    Raises:
        ValueError: unknown objective.
    """
    match method.local_objective:
        case "plain" | "ditto":
            return None
        case "proximal":
            distance = torch.stack(
                [
                    (value - anchor[name]).pow(2).sum()
                    for name, value in model.named_parameters()
                    if value.requires_grad and name in anchor
                ]
            ).sum()
            return 0.5 * method.mu * distance
    raise ValueError(f"unknown local objective '{method.local_objective}'")
