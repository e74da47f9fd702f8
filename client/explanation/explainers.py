"""Every explainer by name, behind one seam: model, views and background to maps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from client.explanation.cam import CAMS, cam
from client.explanation.detected import Explained, require_classifier
from client.explanation.maps import Explanation
from common.models.classifier import BreastClassifier

Explainer = Callable[[Explained, torch.Tensor, torch.Tensor], Explanation]
"""Model, views ``(N, 1, H, W)`` and background ``(K, 1, H, W)`` to an explanation of each view's logit.

The model is afterwards what it was. Only attributions look at the background.
"""


def _cam(name: str) -> Explainer:
    def explainer(model: Explained, images: torch.Tensor, background: torch.Tensor) -> Explanation:
        return Explanation(cam(name, model, images))

    return explainer


def _attribution(name: str) -> Explainer:
    def explainer(model: Explained, images: torch.Tensor, background: torch.Tensor) -> Explanation:
        from client.explanation import attribution  # shap and what it brings take a second to import

        explain: Callable[[BreastClassifier, torch.Tensor, torch.Tensor], Explanation] = getattr(attribution, name)
        return explain(require_classifier(model, name), images, background)

    return explainer


EXPLAINERS: dict[str, Explainer] = {
    **{name: _cam(name) for name in CAMS},
    "shap": _attribution("deep_shap"),
    "expected_gradients": _attribution("expected_gradients"),
}
"""The names of ``evaluation.explainers``."""
