"""Grad-CAM of the malignancy logit, and control maps that know nothing of the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam import HiResCAM
from scipy.ndimage import gaussian_filter
from torch import nn

from common.models.backbones import Stage
from common.models.classifier import AIR, BreastClassifier

FINEST_STRIDE = 8
"""Pixels of a cell of the map: larger cells are larger than many lesions, and what fires them need not lie in their
middle; smaller ones add nothing."""

Maps = npt.NDArray[np.float32]


def grad_cam(model: BreastClassifier, images: torch.Tensor) -> Maps:
    """Where the model sees malignancy: one map a view, not scaled, so that values compare across views.

    The model's weights, gradients, modes and hooks are afterwards what they were.

    Args:
        images: ``(N, 1, H, W)``; moved to the model's device.

    Returns:
        ``(N, H, W)``, 0 or more, 0 in air; all 0 where nothing speaks for malignancy.

    Source: Selvaraju et al. 2017, "Grad-CAM", equation 2 at the end of :func:`target_stage`, with every cell's own
    gradient in place of their mean, equation 1: HiResCAM (Draelos and Carin 2020). The mean is meant for average
    pooling at the last stage; elsewhere it forgets which cells the logit listens to.
    """
    stage = target_stage(model)
    layer = model.backbone.get_submodule(stage.modules[-1])
    with _only_from(model, layer), torch.enable_grad():
        cam = HiResCAM(model, [layer])
        # Not cam(images): that scales each map to 0..1 and clears the model's gradients.
        recorded = cam.activations_and_grads
        try:
            images = images.to(cam.device)
            recorded(images).sum().backward()
            activations, gradients = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
            coarse = np.maximum(cam.get_cam_image(images, layer, [], activations, gradients, False), 0.0)
        finally:
            recorded.release()
    rows, columns = (
        _interpolation(size, cells, stage) for size, cells in zip(images.shape[2:], coarse.shape[1:], strict=True)
    )
    tissue = (images > AIR).cpu().numpy()[:, 0]
    return np.where(tissue, rows @ coarse @ columns.T, np.float32(0.0)).astype(np.float32)


def target_stage(model: BreastClassifier) -> Stage:
    """The stage whose output Grad-CAM weighs: the finest of stride 8 or more."""
    return min((stage for stage in model.stages if stage.stride >= FINEST_STRIDE), key=lambda stage: stage.stride)


def control_maps(images: torch.Tensor, seed: int) -> dict[str, Maps]:
    """What an explanation has to beat: ``intensity``, the image itself, and ``random``, smooth noise.

    Both are 0 outside the breast, where prepared images hold their minimum, and 0 or more inside.

    Args:
        images: ``(N, 1, H, W)``.
        seed: of the noise.

    Returns:
        Name to maps ``(N, H, W)``.
    """
    pixels = images[:, 0].detach().cpu().numpy().astype(np.float32)
    intensity = pixels - pixels.min(axis=(1, 2), keepdims=True)
    noise = np.random.default_rng(seed).standard_normal(pixels.shape).astype(np.float32)
    # As coarse as Grad-CAM, so that size of the spots is no advantage.
    noise = gaussian_filter(noise, sigma=FINEST_STRIDE / 2, axes=(1, 2))
    noise -= noise.min(axis=(1, 2), keepdims=True)
    return {"intensity": intensity, "random": np.where(intensity > 0.0, noise, np.float32(0.0))}


def _interpolation(pixels: int, cells: int, stage: Stage) -> Maps:
    """Weights ``(pixels, cells)`` that interpolate linearly between the places that the cells are centred on.

    Resizing the map to the picture, as is often done, would shift it by up to half a cell: more than most lesions.
    """
    place = np.clip((np.arange(pixels) - stage.centre) / stage.stride, 0, cells - 1)
    weights: Maps = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))).astype(np.float32)
    return weights


@contextmanager
def _only_from(model: BreastClassifier, layer: nn.Module) -> Iterator[None]:
    """Let gradients start at the output of ``layer`` and reach no parameter; restore the model at the end.

    Without it frozen stages would give no gradient at all, and the others would add to the parameters'.
    """
    modes = [(module, module.training) for module in model.modules()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def detached(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output.detach().requires_grad_()

    handle = layer.register_forward_hook(detached)
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        handle.remove()
        for parameter in learning:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode
