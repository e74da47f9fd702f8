"""Weights that sites earn round by round: which figures they go by, and who keeps what he had."""

import pytest

from common.configuration import MethodConfig
from server.history import RoundRecord, SiteTraining, SiteValidation
from server.weighing import carried_weights

SITES = ["MCS", "TUH", "RAW"]


def record(number, own, common):
    """A round after which sites had these losses with their own and with the common model."""
    return RoundRecord(
        number,
        train={site: SiteTraining(9, 9, 3, 2, 0.5, 1.0, 1.0, 0.3, own_loss=loss) for site, loss in own.items()},
        validation={site: SiteValidation(0.8, loss, 9, 3) for site, loss in common.items()},
    )


def weigh(rule, earlier, weights=None, step=0.3):
    return carried_weights(MethodConfig(site_weights=rule, weight_step=step), SITES, weights or {}, earlier, 10)


@pytest.mark.parametrize("rule", ["generalisation_gap", "worst_site"])
def test_all_begin_the_same(rule):
    assert weigh(rule, []) == pytest.approx(dict.fromkeys(SITES, 1 / 3))


@pytest.mark.parametrize("rule", ["patients", "equal", "gradient_agreement"])
def test_other_rules_carry_nothing(rule):
    assert weigh(rule, [record(1, {}, {"MCS": 0.5})]) == {}


def test_gaps_are_of_the_round_before_and_their_step_falls_over_the_run():
    """Gaps 0, .2, .1; mean .1: TUH goes up by d and MCS down; d = .3 * (1 - 2/10)."""
    last = record(2, {"MCS": 0.5, "TUH": 0.5, "RAW": 0.5}, {"MCS": 0.5, "TUH": 0.7, "RAW": 0.6})
    found = weigh("generalisation_gap", [record(1, {}, {"MCS": 9.0}), last])
    assert found == pytest.approx({"MCS": 1 / 3 - 0.24, "TUH": 1 / 3 + 0.24, "RAW": 1 / 3})


def test_a_site_that_missed_the_round_keeps_its_weight():
    before = {"MCS": 0.2, "TUH": 0.3, "RAW": 0.5}
    last = record(5, {"MCS": 0.5, "TUH": 0.5}, {"MCS": 0.6, "TUH": 0.8, "RAW": 0.9})
    found = weigh("generalisation_gap", [last], before)
    assert found == pytest.approx({"MCS": 0.2 - 0.15, "TUH": 0.3 + 0.15, "RAW": 0.5})


def test_the_worst_site_gains_and_one_without_validation_patients_keeps_its_weight():
    before = {"MCS": 0.2, "TUH": 0.3, "RAW": 0.5}
    found = weigh("worst_site", [record(1, {}, {"MCS": 0.9, "TUH": 0.2, "RAW": None})], before)
    assert found["RAW"] == pytest.approx(0.5) and found["MCS"] > 0.2 and sum(found.values()) == pytest.approx(1.0)


def test_a_loss_without_bounds_does_not_end_the_run():
    found = weigh("generalisation_gap", [record(1, dict.fromkeys(SITES, 0.5), dict.fromkeys(SITES, 1e308))])
    assert found == pytest.approx(dict.fromkeys(SITES, 1 / 3))
