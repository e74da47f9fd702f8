"""Class activation maps of the malignancy logit: Grad-CAM and its kin, at the finest stage that is worth it.

All of them weigh the activations of one layer and differ in the weights. Formulas that the grad-cam package has right
for this network are taken from it. Three are not: its Eigen-CAM decomposes cells x cells, gigabytes at 1024 pixels,
and leaves the sign open; its Score-CAM multiplies pixels by masks, which makes tissue of air; its Ablation-CAM divides
by the logit, which turns the map round for a negative one, and puts -1e7 into a channel that may be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from client.explanation.detected import Explained, require_classifier
from client.explanation.maps import Maps, device_of, exactly, explained_copy, only_tissue, views_at_once
from client.explanation.two_inputs import TwoInputClassifier, two_inputs
from common.models.backbones import Stage

FINEST_STRIDE = 8
"""Pixels of a cell of the map: larger cells are larger than many lesions, and what fires them need not lie in their
middle; smaller ones add nothing."""

Cells = Callable[[Explained, Stage, torch.Tensor], Maps]
"""Model (a copy), target stage and images to one value a cell, ``(N, h, w)``; negative ones are cut off."""


def cam(name: str, model: Explained, images: torch.Tensor) -> Maps:
    """Where the model sees malignancy, by one of :data:`CAMS`; not scaled, so that values compare across views.

    Args:
        name: of the method.
        model: left as it is: a copy is explained, in float32 and evaluation mode.
        images: ``(N, 1, H, W)``; moved to the model's device.

    Returns:
        ``(N, H, W)``, 0 or more, 0 in air; all 0 where nothing speaks for malignancy.
    """
    explained = explained_copy(model)
    stage = target_stage(model)
    on_device = images.to(device_of(model))
    with torch.enable_grad(), exactly(on_device.device):
        parts = [CAMS[name](explained, stage, some) for some in torch.split(on_device, views_at_once(images))]
    coarse = np.maximum(np.concatenate(parts), 0.0)
    rows, columns = _interpolations(images, stage, coarse.shape[1:])
    return only_tissue(rows @ coarse @ columns.T, images)


def target_stage(model: Explained) -> Stage:
    """The stage whose output is weighed: the finest of stride 8 or more."""
    return min((stage for stage in model.stages if stage.stride >= FINEST_STRIDE), key=lambda stage: stage.stride)


def _by_gradient(kind: str) -> Cells:
    """A class of the package that weighs activations by the logit's gradient."""

    def cells(model: Explained, stage: Stage, images: torch.Tensor) -> Maps:
        import pytorch_grad_cam  # with OpenCV it takes over half a second to import

        layer = _layer(model, stage)
        with _leaf(layer):
            method = getattr(pytorch_grad_cam, kind)(model, [layer])
            # Not method(images): that scales each map to 0..1.
            recorded = method.activations_and_grads
            recorded(images).sum().backward()
            activations, gradients = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
            recorded.release()
        # No product changes, but Grad-CAM++ adds 1e-6 to squared gradients, which are smaller than that here.
        largest = np.abs(gradients).max(axis=(1, 2, 3), keepdims=True)
        scale = np.where(largest > 0.0, largest, np.float32(1.0))
        found: Maps = method.get_cam_image(images, layer, [], activations * scale, gradients / scale, False)
        return found

    return cells


def _first_component(model: Explained, stage: Stage, images: torch.Tensor) -> Maps:
    """Activations along their first principal direction; which end is up is told by the larger peak.

    Blind to the logit: it shows what the layer responds to most. Source: Muhammad and Yeasin 2020, "Eigen-CAM"; the
    sign: Chung and Ying 2025, "Seg-Eigen-CAM", equation 13.
    """
    activations = _activations(model, stage, images)
    values = activations.flatten(2).double()
    values = values - values.mean(2, keepdim=True)
    direction = torch.linalg.eigh(values @ values.mT).eigenvectors[:, :, -1:]
    found = (direction.mT @ values)[:, 0]
    highest, lowest = found.amax(1, keepdim=True), -found.amin(1, keepdim=True)
    return _numpy(torch.where(lowest > highest, -found, found).view(len(images), *activations.shape[2:]))


def _by_score(model: Explained, stage: Stage, images: torch.Tensor) -> Maps:
    """Each channel weighs as much as the logit rises when only what it shows is left of the view.

    Grey values are masked, with middling tissue at 0; what is air stays air. Source: Wang et al. 2020, "Score-CAM",
    equations 5 to 7.
    """
    network = TwoInputClassifier(require_classifier(model, "scorecam"))
    found = []
    for index in range(len(images)):
        view = two_inputs(images[index : index + 1])
        activations = _activations(model, stage, images[index : index + 1])[0]
        rows, columns = (torch.from_numpy(part).to(images.device) for part in
                         _interpolations(images, stage, activations.shape[1:]))  # fmt: skip
        logits = []
        for some in torch.split(activations, views_at_once(images)):
            masks = rows @ some @ columns.T
            masks = masks - masks.amin((1, 2), keepdim=True)
            masks = masks / masks.amax((1, 2), keepdim=True).clamp(min=torch.finfo(masks.dtype).tiny)
            grey = view.grey * masks[:, None]
            with torch.no_grad():
                logits.append(network(grey, view.tissue.expand_as(grey))[:, 0])
        weights = torch.cat(logits).softmax(0)
        found.append(torch.einsum("c,chw->hw", weights, activations))
    return _numpy(torch.stack(found))


def _by_ablation(model: Explained, stage: Stage, images: torch.Tensor) -> Maps:
    """Each channel weighs as much as the logit falls without it.

    Source: Desai and Ramaswamy 2020, "Ablation-CAM", equation 3, without its division by the logit: ours has a sign,
    and undivided values compare across views.
    """
    layer, found = _layer(model, stage), []
    for view in torch.split(images, 1):
        activations = _activations(model, stage, view)
        with torch.no_grad():
            whole, falls = model(view), []
            for some in torch.split(torch.arange(activations.shape[1]), views_at_once(images)):
                ablated = activations.repeat(len(some), 1, 1, 1)
                ablated[torch.arange(len(some)), some] = 0.0
                with _output(layer, ablated):
                    falls.append(whole - model(view.expand(len(some), -1, -1, -1)))
        found.append(torch.einsum("c,chw->hw", torch.cat(falls), activations[0]))
    return _numpy(torch.stack(found))


CAMS: dict[str, Cells] = {
    "gradcam": _by_gradient("GradCAM"),
    "gradcam++": _by_gradient("GradCAMPlusPlus"),
    "hirescam": _by_gradient("HiResCAM"),
    "layercam": _by_gradient("LayerCAM"),
    "eigencam": _first_component,
    "scorecam": _by_score,
    "ablationcam": _by_ablation,
}
"""Name to method. ``gradcam``: Selvaraju et al. 2017; ``gradcam++``: Chattopadhyay et al. 2018; ``hirescam``: Draelos
and Carin 2020 (every cell's own gradient in place of their mean); ``layercam``: Jiang et al. 2021."""


def _layer(model: Explained, stage: Stage) -> nn.Module:
    return model.backbone.get_submodule(stage.modules[-1])


def _activations(model: Explained, stage: Stage, images: torch.Tensor) -> torch.Tensor:
    """Output ``(N, C, h, w)`` of the stage."""
    found: list[torch.Tensor] = []
    # A clone: what follows may work in place.
    handle = _layer(model, stage).register_forward_hook(lambda module, inputs, output: found.append(output.clone()))
    with torch.no_grad():
        model(images)
    handle.remove()
    return found[0]


@contextmanager
def _leaf(layer: nn.Module) -> Iterator[None]:
    """Let gradients start at the output of a layer: what lies before it is run only forward."""
    handle = layer.register_forward_hook(lambda module, inputs, output: output.detach().requires_grad_())
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _output(layer: nn.Module, output: torch.Tensor) -> Iterator[None]:
    """Let a layer put out something else."""
    handle = layer.register_forward_hook(lambda module, inputs, own: output)
    try:
        yield
    finally:
        handle.remove()


def _numpy(cells: torch.Tensor) -> Maps:
    return cells.float().cpu().numpy()


def _interpolations(images: torch.Tensor, stage: Stage, cells: tuple[int, ...]) -> tuple[Maps, Maps]:
    """Weights for the rows ``(H, h)`` and the columns ``(W, w)`` of a map."""
    rows, columns = (_interpolation(size, number, stage) for size, number in zip(images.shape[2:], cells, strict=True))
    return rows, columns


def _interpolation(pixels: int, cells: int, stage: Stage) -> Maps:
    """Weights ``(pixels, cells)`` that interpolate linearly between the places that the cells are centred on.

    Resizing the map to the picture, as is often done, would shift it by up to half a cell: more than most lesions.
    """
    place = np.clip((np.arange(pixels) - stage.centre) / stage.stride, 0, cells - 1)
    weights: Maps = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))).astype(np.float32)
    return weights
