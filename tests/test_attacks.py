"""The attacks of the privacy benchmarks, where the answer is known."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "privacy"))

from inversion import cosine_of, gradients_of, likeness, read_off
from membership_scores import advantage, largest_advantage, likelihood_ratio

MODELS, PATIENTS, SHIFT = 64, 200, 1.0


def drawn(shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidences of models that are ``shift`` surer of those whom they learnt from, patients being unlike."""
    random = np.random.default_rng(3)
    member = random.random((MODELS, PATIENTS)) < 0.5
    typical = random.normal(0, 5, PATIENTS)
    return typical + shift * member + random.normal(0, 1, (MODELS, PATIENTS)), member


def test_the_likelihood_ratio_is_the_best_test_there_is_between_two_gaussians():
    """Means 0 and d, deviation 1: AUC is Phi(d / sqrt 2), 0.760 for d = 1 (Neyman and Pearson)."""
    confidence, member = drawn(SHIFT)
    scores = likelihood_ratio(confidence, member)
    best = 0.5 * (1 + math.erf(SHIFT / 2))
    assert roc_auc_score(member.ravel(), scores.ravel()) == pytest.approx(best, abs=0.015)
    assert roc_auc_score(member.ravel(), confidence.ravel()) < 0.6  # without asking who she is: patients are unlike


def test_nothing_learnt_by_heart_nothing_told():
    confidence, member = drawn(0.0)
    scores = likelihood_ratio(confidence, member)
    assert roc_auc_score(member.ravel(), scores.ravel()) == pytest.approx(0.5, abs=0.02)
    assert advantage(member.ravel().astype(int), scores.ravel()) < 0.05


def test_a_patient_with_too_few_other_models_has_no_score():
    confidence, member = np.zeros((4, 1)), np.array([[True], [False], [False], [False]])
    assert np.isnan(likelihood_ratio(confidence, member)).all()


def test_the_advantage_by_hand():
    """Thresholds between 4 members and 4 others: at 2.5 three of four members against one of four others."""
    assert advantage(np.array([1, 1, 1, 1, 0, 0, 0, 0]), np.array([5.0, 4, 3, 1, 2, 2, 6, 0])) == pytest.approx(0.5)


def test_what_privacy_leaves_of_it():
    """Epsilon 0 leaves delta; epsilon ln 3 leaves a half: of four guesses three are right at best."""
    assert largest_advantage(0.0, 1e-3) == pytest.approx(1e-3)
    assert largest_advantage(math.log(3), 0.0) == pytest.approx(0.5)
    assert largest_advantage(math.inf, 0.0) == 1.0


def test_a_fully_connected_first_layer_betrays_the_picture_exactly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(80, 8), nn.ReLU(), nn.Linear(8, 1))
    image = torch.randn(1, 1, 10, 8)
    shown = gradients_of(model, image, torch.ones(1))
    assert torch.allclose(read_off(shown, image.shape), image, atol=1e-5)
    similarity, correlation = likeness(read_off(shown, image.shape), image)
    assert similarity == pytest.approx(1, abs=1e-4) and correlation == pytest.approx(1, abs=1e-6)


def test_the_angle_between_gradients():
    first, second = [torch.tensor([3.0]), torch.tensor([4.0])], [torch.tensor([4.0]), torch.tensor([-3.0])]
    assert float(cosine_of(first, first)) == pytest.approx(1)
    assert float(cosine_of(first, second)) == pytest.approx(0, abs=1e-6)
