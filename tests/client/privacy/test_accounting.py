"""Epsilon against Opacus' own accountants, fed step by step; pinned figures; the order of rounds does not matter."""

import math
import random

import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent

from client.privacy.accounting import epsilon_of
from client.privacy.plan import Steps
from common.errors import AccountingError

OPACUS = {"prv": PRVAccountant, "rdp": RDPAccountant}
ROUND = Steps(1.0, 32 / 3000, 93)
"""An epoch over 3,000 patients, 32 a step, as Opacus' own loader counts them."""


@pytest.mark.parametrize("name", OPACUS)
def test_thirty_rounds_cost_what_opacus_says_of_the_same_steps(name):
    oracle = OPACUS[name]()
    for _ in range(30):
        for _ in range(94):
            oracle.step(noise_multiplier=0.9, sample_rate=16 / 1500)
    rounds = [Steps(0.9, 16 / 1500, 94)] * 30
    assert epsilon_of(rounds, 1e-5, name) == pytest.approx(oracle.get_epsilon(1e-5), abs=1e-6)


@pytest.mark.parametrize("name", OPACUS)
def test_rounds_that_differ_cost_what_opacus_says_and_their_order_makes_no_difference(name):
    rounds = [Steps(1.0, 0.01, 40), Steps(1.3, 0.02, 30), Steps(1.0, 0.01, 50), Steps(2.0, 0.5, 3)] * 2
    oracle = OPACUS[name]()
    for item in rounds:
        for _ in range(item.steps):
            oracle.step(noise_multiplier=item.noise_multiplier, sample_rate=item.sample_rate)
    told = epsilon_of(rounds, 1e-5, name)
    assert told == pytest.approx(oracle.get_epsilon(1e-5), abs=1e-6)
    random.Random(0).shuffle(rounds)
    assert epsilon_of(rounds, 1e-5, name) == told


def test_the_figures_that_the_field_is_warned_with():
    """An engine rebuilt each round says 1.24 (RDP, delta 1e-5) where thirty rounds cost 3.63."""
    assert epsilon_of([ROUND], 1e-5, "rdp") == pytest.approx(1.24204, abs=1e-5)
    assert epsilon_of([ROUND] * 30, 1e-5, "rdp") == pytest.approx(3.63217, abs=1e-5)
    assert epsilon_of([ROUND], 1e-5, "prv") == pytest.approx(0.75918, abs=1e-5)
    assert epsilon_of([ROUND] * 30, 1e-5, "prv") == pytest.approx(3.31232, abs=1e-5)


def test_renyi_divergence_by_its_own_formula():
    orders = [1 + step / 10 for step in range(1, 100)] + list(range(12, 64))
    divergence = compute_rdp(q=ROUND.sample_rate, noise_multiplier=1.0, steps=93 * 7, orders=orders)
    expected = get_privacy_spent(orders=orders, rdp=divergence, delta=1e-5)[0]
    assert epsilon_of([ROUND] * 7, 1e-5, "rdp") == pytest.approx(expected, abs=1e-9)


def test_one_step_on_everybody_is_the_gaussian_mechanism():
    """Exact: Balle & Wang 2018, arXiv 1805.06530, theorem 8; the accountant's answer is an upper bound to 0.01."""

    def delta(epsilon, noise):
        def phi(value):
            return 0.5 * math.erfc(-value / math.sqrt(2))

        return phi(0.5 / noise - epsilon * noise) - math.exp(epsilon) * phi(-0.5 / noise - epsilon * noise)

    told = epsilon_of([Steps(2.0, 1.0, 1)], 1e-5, "prv")
    assert delta(told, 2.0) <= 1e-5 <= delta(told - 0.03, 2.0)


def test_more_steps_cost_more_and_more_noise_less():
    costs = [epsilon_of([ROUND] * number, 1e-5) for number in (1, 2, 10, 30)]
    assert costs == sorted(costs) and len(set(costs)) == 4
    assert epsilon_of([Steps(2.0, ROUND.sample_rate, 93)], 1e-5) < costs[0]
    assert epsilon_of([ROUND], 1e-7) > costs[0]


def test_nothing_costs_nothing_and_no_noise_costs_everything():
    assert epsilon_of([], 1e-5) == 0
    assert epsilon_of([Steps(1.0, 0.1, 0)], 1e-5) == 0
    assert epsilon_of([Steps(0.0, 0.1, 1)], 1e-5) == math.inf


@pytest.mark.parametrize(("delta", "name"), [(0.0, "prv"), (1.0, "prv"), (1e-5, "gdp"), (1e-5, "")])
def test_what_makes_no_sense_is_refused(delta, name):
    with pytest.raises(ValueError, match="no epsilon"):
        epsilon_of([ROUND], delta, name)


def test_an_accountant_that_cannot_say_is_named():
    with pytest.raises(AccountingError, match="'prv' cannot say"):
        epsilon_of([ROUND], 1e-18, "prv")
