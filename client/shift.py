"""What a site tells of itself so that it can be compared with others: means, quantiles and counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from client.appearance import images_of, mean_quantiles, tissue
from client.compute import choose
from client.inference import BREASTS_AT_ONCE
from common.comparison import DENSITIES, SPACINGS, VIEWS
from common.configuration import TaskConfig
from common.data.dataset import SiteData, make_batch
from common.data.manifest import View
from common.imaging.harmonise import OUTSIDE, harmonise
from common.models.classifier import BreastClassifier, without_air
from common.protocol import ShiftReport

BIRADS = dict(zip((*DENSITIES, "1", "2", "3", "4"), DENSITIES * 2, strict=True))
"""In letters or numbers; a site with any other word uses another scale, whose D need not be this one."""
EMPTY = ShiftReport(0, 0, 0, None, [], [], [], [], [], {}, {}, [], [])

Floats = npt.NDArray[np.float64]


def shift_of(
    stored: SiteData, prepared: SiteData | None, task: TaskConfig, minimum: int, model: BreastClassifier | None = None
) -> ShiftReport:
    """Everything a site tells.

    Args:
        stored: the site's images as they were stored (``common.data.scale.as_stored``), all splits.
        prepared: as the network sees them; ``None`` where their scale is not known yet.
        task: of the run.
        minimum: what fewer patients, breasts or images stand behind is left empty.
        model: to take features of the validation patients from.
    """
    if stored.patients < minimum:
        return EMPTY
    malignant = int(stored.targets.sum())
    hidden = min(malignant, len(stored.breasts) - malignant) < minimum
    mean, variance, counted = [], [], 0
    if model is not None and prepared is not None:
        validation = prepared.of_split("validation")
        if validation.patients >= max(minimum, 2):
            features = pooled_features(model, validation, task)
            mean, variance, counted = features.mean(0).tolist(), features.var(0, ddof=1).tolist(), len(features)
    spacings, input_spacings = _spacings(stored)
    return ShiftReport(
        patients=stored.patients,
        breasts=len(stored.breasts),
        images=sum(len(views) for views in stored.views),
        malignant=None if hidden else malignant,
        stored=mean_quantiles(values[inside] for values, inside in map(tissue, images_of(stored))),
        standardised=mean_quantiles(_standardised(stored)),
        prepared=[] if prepared is None else mean_quantiles(_prepared(prepared)),
        spacing_mm=_told(spacings, minimum),
        input_spacing_mm=_told(input_spacings, minimum),
        views=_kept(Counter(view.view if view.view in VIEWS else "OTHER" for view in _views(stored)), minimum),
        densities=_densities(stored, minimum),
        feature_mean=mean,
        feature_variance=variance,
        feature_patients=counted,
    )


def pooled_features(model: BreastClassifier, data: SiteData, task: TaskConfig) -> Floats:
    """The backbone's features, averaged over positions, views and breasts: float64 ``(patients, channels)``."""
    compute = choose(task.training)
    was_training = model.training
    compute.place_model(model)
    model.eval()
    of_patient: dict[str, list[Floats]] = defaultdict(list)
    with torch.inference_mode():
        for start in range(0, len(data.breasts), BREASTS_AT_ONCE):
            indices = range(start, min(start + BREASTS_AT_ONCE, len(data.breasts)))
            batch = make_batch(data, indices)
            with compute.autocast():
                found = model.backbone(without_air(compute.place(batch.images)))
            pooled = found.float().mean(dim=(2, 3)).double().cpu().numpy()
            for owner, features in zip(batch.breast_of_image.tolist(), pooled, strict=True):
                of_patient[data.breasts[start + owner].patient_id].append(features)
    model.to("cpu").train(was_training)
    return np.stack([np.mean(features, axis=0) for features in of_patient.values()])


def _standardised(stored: SiteData) -> Iterator[Floats]:
    for values, inside in map(tissue, images_of(stored)):
        yield harmonise(values, inside, "percentile")[inside].astype(np.float64)


def _prepared(data: SiteData) -> Iterator[Floats]:
    for image in images_of(data):
        values = np.asarray(image.pixels, dtype=np.float64)
        yield values[values > OUTSIDE]


def _views(data: SiteData) -> Iterator[View]:
    return (view for breast in data.breasts for view in breast.views)


def _spacings(data: SiteData) -> tuple[list[float], list[float]]:
    """Of the stored pixels and of the network's input, mm, of every image whose spacing is known; of rows."""
    stored, of_input = [], []
    for view, image in zip(_views(data), images_of(data), strict=True):
        said = image.facts.said.spacing_mm
        spacing = said[0] if said else view.spacing_mm
        if spacing:
            top, bottom = image.geometry.crop[1], image.geometry.crop[3]
            stored.append(float(spacing))
            of_input.append(float(spacing * (bottom - top) / image.geometry.placed[0]))
    return stored, of_input


def _told(spacings: list[float], minimum: int) -> list[float]:
    if len(spacings) < minimum:
        return []
    return [float(value) for value in np.quantile(spacings, SPACINGS)]


def _kept(counts: Counter[str], minimum: int) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count >= minimum}


def _densities(data: SiteData, minimum: int) -> dict[str, int]:
    said = [breast.density.strip().upper() for breast in data.breasts]
    known = [word for word in said if word]
    if any(word not in BIRADS for word in known):
        return {}
    return _kept(Counter(BIRADS[word] for word in known), minimum)
