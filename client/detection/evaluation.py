"""How the detector does on one site's patients: its FROC curve, and what it says of whole breasts."""

from __future__ import annotations

import math
from dataclasses import replace

from client.detection.reading import SiteReading, read_images
from client.evaluation import MINIMUM_CELL, estimate, rank
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.metrics.classification import auc
from common.metrics.froc import GRID, froc
from common.protocol import Estimate, EvaluationReport, FrocReport


def summarise(data: SiteData, reading: SiteReading, config: EvaluationConfig) -> EvaluationReport:
    """Counts, loss, AUC and FROC without intervals: what every round needs; ``None`` where there is no patient."""
    targets = data.targets
    value = auc(targets, reading.logits) if len(targets) else math.nan
    return EvaluationReport(
        patients=data.patients,
        breasts=len(data.breasts),
        images=len(reading.views),
        malignant=int(targets.sum()),
        loss=reading.loss,
        auc=Estimate(value if math.isfinite(value) else None),
        froc=curve(data, reading, config, samples=0, seed=0),
    )


def measure(data: SiteData, reading: SiteReading, config: EvaluationConfig, seed: int) -> EvaluationReport:
    """Everything :func:`summarise` gives, with intervals, and the ROC of whole breasts.

    A detector's scores are no probabilities of malignancy, so there is no Brier score and no calibration.
    """
    report = replace(
        summarise(data, reading, config), froc=curve(data, reading, config, config.bootstrap_samples, seed)
    )
    return rank(report, data, reading.logits, config, seed)


def curve(data: SiteData, reading: SiteReading, config: EvaluationConfig, samples: int, seed: int) -> FrocReport | None:
    """FROC over the views whose lesions are known; ``None`` where fewer patients than ``MINIMUM_CELL`` have one."""
    images = read_images(data, reading.views)
    if len({image.patient for image in images if len(image.lesions)}) < MINIMUM_CELL:
        return None
    found = froc(images, config.hit_rule, config.hit_overlap, samples, config.confidence, seed)
    return FrocReport(
        images=found.images,
        lesions=found.lesions,
        breasts=found.breasts,
        false_positives=list(GRID),
        per_lesion=[estimate(point) for point in found.per_lesion],
        per_breast=[estimate(point) for point in found.per_breast],
        mean_per_lesion=estimate(found.mean_per_lesion),
        mean_per_breast=estimate(found.mean_per_breast),
    )
