"""Does an explainer look at the model at all: forget what was learnt, layer after layer, and compare the maps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from client.explanation.detected import Explained
from common.metrics.explanation import rank_correlation
from common.models.classifier import AIR

Maps = npt.NDArray[np.float32]
Explain = Callable[[Explained, torch.Tensor], Maps]
"""Model and images ``(N, 1, H, W)`` to maps ``(N, H, W)``."""


@dataclass(frozen=True)
class Forgotten:
    """Maps after everything from the head down to one stage was initialised anew."""

    stage: str
    """Name of the lowest stage that was; ``head`` first."""
    correlation: npt.NDArray[np.float64]
    """``(N,)``, Spearman's correlation with the maps of the trained model over the breast."""


def cascading_randomisation(model: Explained, explain: Explain, images: torch.Tensor, seed: int) -> Iterator[Forgotten]:
    """Randomise a copy of the model from the head to the stem; the maps must lose their likeness.

    A map that keeps it (an edge detector's, the image's own intensity) says nothing of what the model
    learnt. The model itself is not touched.

    Args:
        model: trained.
        explain: the explainer.
        images: ``(N, 1, H, W)``.
        seed: of the new weights.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", section 4.1.
    """
    trained = explain(model, images)
    for name, copied in forgetting(model, seed):
        yield Forgotten(name, likeness(trained, explain(copied, images), images))


def untaught(model: Explained, seed: int) -> Explained:
    """A copy of the model that has forgotten everything: the end of the cascade."""
    *_, (_, copied) = forgetting(model, seed)
    return copied


def likeness(one: Maps, other: Maps, images: torch.Tensor) -> npt.NDArray[np.float64]:
    """Spearman's correlation of two maps of each image over the breast, ``(N,)``."""
    tissue = (images[:, 0] > AIR).cpu().numpy()
    pairs = zip(one, other, tissue, strict=True)
    return np.array([rank_correlation(first, second, inside) for first, second, inside in pairs])


def forgetting(model: Explained, seed: int) -> Iterator[tuple[str, Explained]]:
    """The same copy of the model again and again, of which ever more is initialised anew, from the head to the stem."""
    copied = copy.deepcopy(model)
    parts: list[tuple[str, list[nn.Module]]] = [("head", [copied.head])]
    parts += [
        (stage.name, [copied.backbone.get_submodule(name) for name in stage.modules])
        for stage in reversed(copied.stages)
    ]
    for number, (name, modules) in enumerate(parts):
        with torch.random.fork_rng():
            torch.manual_seed(seed + number)
            for module in modules:
                _initialise(module)
        yield name, copied


def _initialise(module: nn.Module) -> None:
    """New weights, norms and running statistics, as every layer draws its own."""
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        elif list(part.parameters(recurse=False)):  # a bare parameter, such as ConvNeXt's layer scale
            for parameter in part.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)
