"""The model's answers for every breast of a site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from client.compute import choose
from common import progress
from common.configuration import TrainingConfig
from common.data.dataset import SiteData, make_batch
from common.models.classifier import BreastClassifier, pool_views

BREASTS_AT_ONCE = 16


@dataclass(frozen=True)
class Predictions:
    """Logits of malignancy: one a breast, and one a view in the order of the breasts' views."""

    breast_logits: npt.NDArray[np.float64]
    view_logits: npt.NDArray[np.float64]


def predict(model: BreastClassifier, data: SiteData, training: TrainingConfig, description: str) -> Predictions:
    """Run the model over all breasts; the model's train/eval mode is as before afterwards."""
    compute = choose(training)
    was_training = model.training
    compute.place_model(model)
    model.eval()
    breasts, views = [], []
    with torch.inference_mode(), progress.track(description, len(data.breasts)) as advance:
        for start in range(0, len(data.breasts), BREASTS_AT_ONCE):
            indices = range(start, min(start + BREASTS_AT_ONCE, len(data.breasts)))
            batch = make_batch(data, indices)
            with compute.autocast():
                logits = model(compute.place(batch.images))
            logits = logits.float()
            pooled = pool_views(logits, batch.breast_of_image.to(compute.device), len(indices))
            views.append(logits.double().cpu().numpy())
            breasts.append(pooled.double().cpu().numpy())
            advance(len(indices))
    model.to("cpu").train(was_training)
    return Predictions(np.concatenate([*breasts, np.empty(0)]), np.concatenate([*views, np.empty(0)]))
