"""What every explainer gives, and the copy of the model that it works on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from client.explanation.detected import DetectedScore, Explained
from common.models.classifier import AIR, BreastClassifier

PIXELS_AT_ONCE = 16 * 256 * 192
"""Pixels of a batch: memory grows neither with the number of views nor with their size."""

M = TypeVar("M", BreastClassifier, DetectedScore, Explained)
Maps = npt.NDArray[np.float32]
Gaps = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """Maps of some views, not scaled, so that values compare across views.

    ``maps``: float32 ``(N, H, W)``, 0 in air, positive where something speaks for malignancy. ``gap``: ``(N,)``, for
    attributions: by what share their sum misses what it should be; ``None`` for maps that promise no sum.
    """

    maps: Maps
    gap: Gaps | None = None


def explained_copy(model: M) -> M:
    """The model in float32 and evaluation mode; what is done to the copy, the model does not feel."""
    return copy.deepcopy(model).float().eval().requires_grad_(False)


def device_of(model: Explained) -> torch.device:
    """Where a model's parameters lie."""
    return next(model.parameters()).device


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Full float32, for what is differentiated: no autocast, and on a GPU no TF32 in convolutions.

    With TF32, which PyTorch lets convolutions use, deep SHAP missed its sum by up to 0.4 % instead of 0.001 %, and
    Grad-CAM of EfficientNet-lite0 kept a rank correlation of 0.93 with the processor's map instead of 1.
    """
    convolutions = torch.backends.cudnn
    before = convolutions.allow_tf32
    convolutions.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        convolutions.allow_tf32 = before


def only_tissue(maps: Maps, images: torch.Tensor) -> Maps:
    """Maps ``(N, H, W)`` with 0 where the images ``(N, 1, H, W)`` show air."""
    tissue = (images > AIR).cpu().numpy()[:, 0]
    return np.where(tissue, maps, np.float32(0.0)).astype(np.float32)


def views_at_once(images: torch.Tensor) -> int:
    """How many views of this size make a batch."""
    return max(1, PIXELS_AT_ONCE // images.shape[-2:].numel())
