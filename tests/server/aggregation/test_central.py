"""Central privacy against hand-made numbers: what a site can move, what is added, and what that promises."""

import math

import numpy as np
import pytest
import torch
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.stats import chi2

from common.entropy import Entropy
from server.aggregation.central import clipped, epsilon_of_rounds, noisy_mean
from server.aggregation.mean import RunningMean, fold


def update(*values):
    """Two tensors, so that the norm is one over both."""
    return {"a": torch.tensor(values[:2]), "b": torch.tensor([values[2:]])}


def silence(count):
    return torch.zeros(count, dtype=torch.float64)


def mean_of(*updates, largest=5.0):
    found = RunningMean()
    for item in updates:
        found = fold(found, clipped(item, largest), 1.0)
    return found


def test_an_update_is_shrunk_as_a_whole_and_a_short_one_left_alone():
    """Length of (2, 4, 4, 8) is 10."""
    shrunk = clipped(update(2.0, 4.0, 4.0, 8.0), 5.0)
    assert shrunk["a"].tolist() == [1.0, 2.0] and shrunk["b"].tolist() == [[2.0, 4.0]]
    short = update(1.0, 0.0, 2.0, 0.0)
    assert all(torch.equal(clipped(short, 5.0)[name], short[name]) for name in short)
    assert clipped(update(0.0, 0.0, 0.0, 0.0), 5.0)["a"].tolist() == [0.0, 0.0]


def test_the_mean_is_over_all_sites_of_the_run():
    """(1, 2, 2, 4) and (3, 0, 0, 0) of three sites, one of which did not answer."""
    found = noisy_mean(mean_of(update(2.0, 4.0, 4.0, 8.0), update(3.0, 0.0, 0.0, 0.0)), 3, 5.0, 1.0, silence)
    assert found["a"].tolist() == pytest.approx([4 / 3, 2 / 3])
    assert found["b"].tolist() == [pytest.approx([2 / 3, 4 / 3])]


@pytest.mark.parametrize("sites", [1, 2, 10])
def test_no_site_moves_the_mean_by_more_than_its_share_of_the_norm(sites):
    random = np.random.default_rng(1)
    for _ in range(200):
        updates = [update(*map(float, random.normal(0, 10 ** random.uniform(-2, 4), 4))) for _ in range(sites)]
        without = updates[:-1] or [update(0.0, 0.0, 0.0, 0.0)]
        both = [noisy_mean(mean_of(*some), sites, 5.0, 0.0, silence) for some in (updates, without)]
        moved = math.sqrt(sum(float((both[0][name] - both[1][name]).square().sum()) for name in both[0]))
        assert moved <= 5.0 / sites * (1 + 1e-5)


def test_weights_by_patients_would_need_noise_of_another_size():
    """Why sites weigh the same: with 8,000 and 2,000 patients one moves the mean 1.6 times as much as C/2."""
    far = clipped(update(1e6, 0.0, 0.0, 0.0), 5.0)
    weighted = fold(fold(RunningMean(), far, 8000), update(0.0, 0.0, 0.0, 0.0), 2000)
    moved = float((weighted.total["a"] / weighted.weight).norm())
    assert moved == pytest.approx(1.6 * 5.0 / 2)
    with pytest.raises(ValueError, match="updates of weight 1"):
        noisy_mean(weighted, 2, 5.0, 1.0, silence)


@pytest.mark.parametrize(("parts", "sites"), [(0, 2), (3, 2)])
def test_what_was_not_folded_in_right_is_refused(parts, sites):
    with pytest.raises(ValueError, match="were expected"):
        noisy_mean(mean_of(*[update(1.0, 0.0, 0.0, 0.0)] * parts), sites, 5.0, 1.0, silence)


def test_the_noise_is_as_wide_as_it_must_be():
    """40,000 values: their variance lies within its 99.99 % interval round (z C / N)²."""
    number = 40_000
    total = RunningMean({"w": torch.zeros(200, 200, dtype=torch.float64)}, 4.0)
    noise = noisy_mean(total, 4, 2.0, 1.5, Entropy(3).normal)["w"].double()
    low, high = (bound * (1.5 * 2.0 / 4) ** 2 / number for bound in chi2.interval(0.9999, number))
    assert low < float(noise.square().mean()) < high
    assert abs(float(noise.mean())) < 4 * 0.75 / math.sqrt(number)
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (4.0, 10), (20.0, 30), (2.0, 100)])
def test_epsilon_is_exact_and_opacus_bounds_it_from_above(noise, rounds):
    told = epsilon_of_rounds(noise, rounds)
    for accountant, slack in ((PRVAccountant(), 0.03), (RDPAccountant(), math.inf)):
        accountant.history = [(noise, 1.0, rounds)]
        bound = accountant.get_epsilon(1e-5)
        assert told <= bound <= told + slack


def test_epsilon_of_nothing_and_of_no_noise():
    assert epsilon_of_rounds(1.0, 0) == 0
    assert epsilon_of_rounds(0.0, 1) == math.inf
    assert epsilon_of_rounds(1e6, 1) == 0, "delta alone allows so little"
