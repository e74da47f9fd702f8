"""The attacks of ``benchmarks/privacy`` on things whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.privacy.attacks import (
    advantage,
    best_threshold,
    bound_on_advantage,
    invert,
    likelihood_ratios,
    similarity,
)


def test_advantage_by_hand():
    """At 2 three of four members are above, and one of four others."""
    members, others = np.array([1.0, 3, 4, 5]), np.array([0.0, 1, 2, 3])
    assert advantage(members, others, 2.0) == 0.5
    assert advantage(members, others, best_threshold(members, others)) == 0.5
    assert advantage(others, members, best_threshold(others, members)) == 0.0


def test_likelihood_ratios_find_members_whatever_a_patients_own_level():
    """Every patient has a level of their own, ten times what membership adds: loss alone is lost, ratios are not."""
    random = np.random.default_rng(0)
    level = random.normal(0, 10, 400)
    is_in = random.random((9, 400)) < 0.5
    is_in[:2] = [[True], [False]]
    scores = level + is_in + random.normal(0, 0.3, is_in.shape)
    target, shadows, members = scores[-1], scores[:-1], is_in[-1]
    ratios = likelihood_ratios(target, shadows, is_in[:-1])
    assert advantage(ratios[members], ratios[~members], 0.0) > 0.75
    assert abs(advantage(target[members], target[~members], 0.0)) < 0.2


def test_the_bound_is_that_of_randomised_response():
    """Telling a bit truthfully with probability e/(1+e) is (1, 0)-private; guessing it has this advantage."""
    truth = math.e / (1 + math.e)
    assert bound_on_advantage(1.0, 0.0) == pytest.approx(truth - (1 - truth))
    assert bound_on_advantage(math.inf, 0.0) == 1.0 and bound_on_advantage(0.0, 0.01) == pytest.approx(0.01)


def test_a_linear_models_image_is_found_in_its_gradient_but_not_in_noise():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12 * 9, 1), nn.Flatten(0))
    image, tissue = torch.full((1, 1, 12, 9), -3.0), torch.zeros(1, 1, 12, 9, dtype=torch.bool)
    tissue[..., 2:10, :7] = True
    image[tissue] = torch.randn(int(tissue.sum()))
    target, loss = torch.ones(1), nn.BCEWithLogitsLoss()
    seen = list(torch.autograd.grad(loss(model(image), target), list(model.parameters())))
    noise = [1000 * torch.randn(item.shape) for item in seen]
    found = [similarity(invert(model, loss, target, some, tissue, 80), image, tissue) for some in (seen, noise)]
    assert found[0] > 0.9 and abs(found[1]) < 0.4
