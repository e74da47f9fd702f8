"""Attributions of the logit to pixels, against a background of other views: deep SHAP and expected gradients.

Both share out, for each view, the difference between its logit and the background's mean logit over its pixels.
How far the sum misses that difference is computed every time, from the classifier itself, and goes along.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from shap import DeepExplainer
from shap.explainers._deep import deep_pytorch

from client.explanation.maps import Explanation, device_of, exactly, explained_copy, only_tissue, views_at_once
from client.explanation.rewiring import MultiplierClassifier
from client.explanation.two_inputs import TwoInputClassifier, TwoInputs, two_inputs
from common.errors import ExplainerError
from common.models.classifier import BreastClassifier

STEPS = 16
"""Points on the line from each background view to the explained one."""
TOLERANCE = 1e-2
"""Deep SHAP with a larger relative gap is refused: its values are wrong, whatever they look like."""
LEAST_DIFFERENCE = 1e-2
"""Logits that differ by less are held to be equal: the gap is a share of this difference or a larger one."""

# The rules are inside: shap has nothing to do to the gradient that comes out.
deep_pytorch.op_handler[MultiplierClassifier.__name__] = deep_pytorch.passthrough

Attribute = Callable[[TwoInputs, TwoInputs], torch.Tensor]


def deep_shap(model: BreastClassifier, images: torch.Tensor, background: torch.Tensor) -> Explanation:
    """Shapley values of the pixels as deep SHAP has them, with rules that add up on every layer of ours.

    Args:
        model: left as it is: a copy is explained, in float32 and evaluation mode.
        images: ``(N, 1, H, W)``.
        background: ``(K, 1, H, W)``.

    Raises:
        ExplainerError: no background, a layer without an exact rule, or values that do not add up.

    Source: Lundberg and Lee 2017, "A unified approach to interpreting model predictions", section 4.2; the rules
    are those of :mod:`client.explanation.multipliers`.
    """
    explained = explained_copy(model)
    network = MultiplierClassifier(explained)
    references = two_inputs(background.to(device_of(explained)))

    def attribute(view: TwoInputs, some: TwoInputs) -> torch.Tensor:
        # shap's own check is absolute and sees one batch; _attributed makes a stricter one of the whole.
        values = DeepExplainer(network, [some.grey, some.tissue]).shap_values(
            [view.grey, view.tissue], check_additivity=False
        )
        return torch.from_numpy(len(some) * sum(value[0, 0, :, :, 0] for value in values))

    found = _attributed(model, images, background, references, attribute, views_each=2)
    if found.gap is not None and not (worst := found.gap.max()) <= TOLERANCE:  # not a number is refused too
        raise ExplainerError(
            f"deep SHAP's values do not add up to the logit: they miss it by {worst:.1%}",
            do="leave shap out of evaluation.explainers, and tell us about the network",
        )
    return found


def expected_gradients(model: BreastClassifier, images: torch.Tensor, background: torch.Tensor) -> Explanation:
    """Gradients on the straight lines from the background's views, times the way; their mean over both.

    Every background view is used, at ``STEPS`` evenly spaced points of its line, instead of a random draw of pairs:
    the same numbers every time, and a smaller gap for the same work.

    Args:
        model: left as it is: a copy is explained, in float32 and evaluation mode.
        images: ``(N, 1, H, W)``.
        background: ``(K, 1, H, W)``.

    Raises:
        ExplainerError: no background.

    Source: Erion et al. 2021, "Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients", equation 3.
    """
    explained = explained_copy(model)
    network = TwoInputClassifier(explained)
    references = two_inputs(background.to(device_of(explained)))

    def attribute(view: TwoInputs, some: TwoInputs) -> torch.Tensor:
        total = torch.zeros_like(view.grey)
        for step in range(STEPS):
            along = (step + 0.5) / STEPS
            points = [
                (start + along * (end - start)).requires_grad_()
                for start, end in ((some.grey, view.grey), (some.tissue, view.tissue))
            ]
            slopes = torch.autograd.grad(network(*points).sum(), points, allow_unused=True, materialize_grads=True)
            ways = (view.grey - some.grey, view.tissue - some.tissue)
            for slope, way in zip(slopes, ways, strict=True):
                total += (slope * way).sum(0, keepdim=True)
        return total[0, 0].cpu() / STEPS

    return _attributed(model, images, background, references, attribute, views_each=1)


def _attributed(
    model: BreastClassifier,
    images: torch.Tensor,
    background: torch.Tensor,
    references: TwoInputs,
    attribute: Attribute,
    views_each: int,
) -> Explanation:
    """Attribute view by view, a part of the background at a time; 0 in air; with the gap.

    Args:
        attribute: sum over some references of one view's attributions, ``(H, W)``.
        views_each: views of a batch that one reference brings along.
    """
    if not len(background):
        raise ExplainerError("there is no background to compare with", do="give views of the site's training patients")
    device = references.grey.device
    at_once = max(1, views_at_once(images) // views_each)
    maps, sums = [], []
    with torch.enable_grad(), exactly(device):
        for index in range(len(images)):
            view = two_inputs(images[index : index + 1].to(device))
            total = torch.zeros(images.shape[-2:], dtype=torch.float64)
            for start in range(0, len(references), at_once):
                total += attribute(view, references[start : start + at_once])
            maps.append((total / len(references)).float().numpy())
            sums.append(float(total.sum() / len(references)))
    logits, others = _logits(model, images, at_once), _logits(model, background, at_once)
    scale = np.maximum(np.abs(logits[:, None] - others).mean(axis=1), LEAST_DIFFERENCE)
    gap = np.abs(np.array(sums) - (logits - others.mean())) / scale
    return Explanation(only_tissue(np.stack(maps), images), gap)


def _logits(model: BreastClassifier, images: torch.Tensor, at_once: int) -> npt.NDArray[np.float64]:
    """The classifier's own answers: what the attributions are held against."""
    explained = explained_copy(model)
    with torch.no_grad(), exactly(device_of(explained)):
        parts = [explained(some.to(device_of(explained))) for some in torch.split(images, at_once)]
    return torch.cat(parts).double().cpu().numpy()
