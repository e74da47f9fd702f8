"""From the method's name of an objective to its gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from client.objectives.control_variates import corrected
from client.objectives.guidance import Backward, Guidance, Loss
from client.objectives.proximal import penalty
from client.objectives.sharpness import sharpness_aware
from common.configuration import MethodConfig


def backward_of(method: MethodConfig, model: nn.Module, guidance: Guidance, generator: torch.Generator) -> Backward:
    """The gradient of the method's objective.

    Args:
        method: names the objective and its strength.
        model: in training, on its device.
        guidance: of this training.
        generator: that the batches' augmentation draws from.

    Raises:
        ValueError: unknown objective.
    """
    match method.local_objective:
        case "control_variates":
            return corrected(model, guidance.correction or {})
        case "sharpness_aware":
            return sharpness_aware(model, method.rho, generator)
    extra_of = penalty_of(method, model, guidance)

    def backward(loss: Loss) -> float:
        own, extra = loss(), extra_of()
        torch.autograd.backward(own if extra is None else own + extra)
        return own.item()

    return backward


def penalty_of(method: MethodConfig, model: nn.Module, guidance: Guidance) -> Callable[[], torch.Tensor | None]:
    """What the method adds to the loss of any batch, and of no batch: it depends on no patient.

    Args:
        method: names the objective and its strength.
        model: at the beginning of the training, on its device.
        guidance: of this training.

    Raises:
        ValueError: unknown objective, when what is returned is called.
    """
    started = {name: value.detach().clone() for name, value in model.named_parameters()}
    if guidance.anchor is not None:
        started = {name: guidance.anchor[name].to(value.device) for name, value in started.items()}
    anchor = {name: value for name, value in started.items() if name not in guidance.local}
    return lambda: penalty(method, model, anchor)
