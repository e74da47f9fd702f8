"""The model's answers for every breast of a site."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from client.compute import choose
from common import progress
from common.configuration import TrainingConfig
from common.data.dataset import SiteData, make_batch
from common.models.classifier import BreastClassifier, pool_views

BREASTS_AT_ONCE = 16

Logits = npt.NDArray[np.float64]


def predict(model: BreastClassifier, data: SiteData, training: TrainingConfig, description: str) -> Logits:
    """Logit of malignancy of every breast, ``(breasts,)``; the model's train/eval mode is as before afterwards."""
    compute = choose(training)
    was_training = model.training
    compute.place_model(model)
    model.eval()
    logits = [np.empty(0)]
    with torch.inference_mode(), progress.track(description, len(data.breasts)) as advance:
        for start in range(0, len(data.breasts), BREASTS_AT_ONCE):
            indices = range(start, min(start + BREASTS_AT_ONCE, len(data.breasts)))
            batch = make_batch(data, indices)
            with compute.autocast():
                of_views = model(compute.place(batch.images)).float()
            of_breasts = pool_views(of_views, batch.breast_of_image.to(compute.device), len(indices))
            logits.append(of_breasts.double().cpu().numpy())
            advance(len(indices))
    model.to("cpu").train(was_training)
    return np.concatenate(logits)
