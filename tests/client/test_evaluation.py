"""What a site reports of a model, against scikit-learn and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from client.evaluation import MINIMUM_CELL, measure, probabilities, summarise
from client.inference import predict
from common.configuration import EvaluationConfig, ModelConfig, TrainingConfig
from common.models.classifier import build_classifier

FEW = EvaluationConfig(bootstrap_samples=50)


@pytest.fixture
def logits():
    return np.random.default_rng(3).normal(0.0, 2.0, 12)


def test_figures_are_those_of_scikit_learn(bright_cancers, logits):
    report = measure(bright_cancers, logits, FEW, 0)
    targets = bright_cancers.targets
    assert (report.patients, report.breasts, report.images, report.malignant) == (12, 12, 12, 4)
    assert report.auc.value == pytest.approx(roc_auc_score(targets, logits))
    assert report.loss == pytest.approx(log_loss(targets, probabilities(logits)))
    assert report.brier.value == pytest.approx(brier_score_loss(targets, probabilities(logits)))
    assert report.auc.low <= report.auc.value <= report.auc.high
    assert len(report.roc_specificity) == len(report.roc_sensitivity) == 51
    assert (np.diff(report.roc_sensitivity) <= 0).all()


def test_bins_of_few_breasts_stay_at_the_site(bright_cancers, logits):
    report = measure(bright_cancers, logits, FEW, 0)
    assert all(item.count >= MINIMUM_CELL for item in report.calibration)


def test_with_one_class_what_needs_both_is_undefined(bright_cancers, logits):
    normal = [index for index, breast in enumerate(bright_cancers.breasts) if not breast.target]
    part = replace(
        bright_cancers,
        breasts=tuple(bright_cancers.breasts[i] for i in normal),
        views=tuple(bright_cancers.views[i] for i in normal),
    )
    report = measure(part, logits[normal], FEW, 0)
    assert report.auc.value is None and report.sensitivity.value is None and report.loss > 0


def test_without_patients_there_are_counts_and_nothing_else(bright_cancers):
    """A site whose manifest gives only `train` and `test` still answers a round's validation."""
    nobody = bright_cancers.of_split("validation")
    model = build_classifier(ModelConfig(backbone="resnet8"), 0)
    report = summarise(nobody, predict(model, nobody, TrainingConfig(threads=1), ""))
    assert (report.patients, report.breasts, report.loss, report.auc.value) == (0, 0, None, None)


@pytest.mark.parametrize("pooling", ["average", "lse"])
def test_bf16_does_not_tie_breasts_that_differ(bright_cancers, pooling):
    model = build_classifier(ModelConfig(backbone="resnet8", pooling=pooling), 0)
    found = predict(model, bright_cancers, TrainingConfig(precision="bf16", threads=1), "")
    coarse = np.float32(found).view(np.uint32) & 0xFFFF
    assert (coarse != 0).any()  # bf16 numbers end in sixteen zero bits
