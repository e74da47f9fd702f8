"""Each rule of a hospital's policy, broken by a coordinator: refused, logged on both sides, the run goes on."""

import json

import pytest

from client.privacy import ledger
from client.privacy.accounting import epsilon_of
from client.privacy.plan import steps_of_round
from common.configuration import task_of, to_yaml
from common.errors import DisagreementError
from common.protocol import TrainReport, TrainTask
from common.wire import encode
from server.admission import SiteRefusedError, answer
from server.app import describe_sites
from server.exchange import connected_sites, exchange
from server.rounds import run_rounds
from tests.end_to_end.hospitals import Hospitals

PRIVATE = ["privacy.unit=patient", "model.norm=group", "privacy.patients_per_step=99", "privacy.accountant=rdp"]
"""Every patient in the one step of a round: accounted for at once."""
NOISY = [*PRIVATE, "privacy.noise_multiplier=10"]
POLICY, BUDGET = "PolicyRefusalError", "PrivacyBudgetError"
RULES = {
    "tasks": ({"tasks": ["detector"]}, [], POLICY, "task 'classifier' is not allowed"),
    "methods": ({"methods": ["fedprox"]}, [], POLICY, "method 'fedavg' is not allowed"),
    "local_objectives": ({"local_objectives": ["proximal"]}, [], POLICY, "local_objective 'plain'"),
    "rounds": ({"rounds": 1}, ["federation.rounds=2"], POLICY, "2 rounds are not allowed"),
    "ranges": ({"ranges": {"training.local_epochs": [2, 9]}}, [], POLICY, "training.local_epochs = 1"),
    "fixed": ({"fixed": {"data.unreadable": "skip"}}, [], POLICY, "data.unreadable = stop"),
    "preprocessing_version": ({"preprocessing_version": 1}, [], POLICY, "(only 1)"),
    "minimum_patients": ({"minimum_patients": 999}, [], POLICY, "fewer than 999 patients"),
    "minimum_steps": ({"minimum_steps": 99}, [], POLICY, "fewer than 99 local steps"),
    "minimum_steps of private training": ({"minimum_steps": 99}, NOISY, POLICY, "fewer than 99 local steps"),
    "private_tasks": ({"private_tasks": ["classifier"]}, [], POLICY, "only trained with patient-level privacy"),
    "private by a budget": ({"maximum_epsilon": 8}, [], POLICY, "only trained with patient-level privacy"),
    "maximum_epsilon": ({"maximum_epsilon": 0.05}, NOISY, BUDGET, "maximum_epsilon = 0.05"),
    "maximum_epsilon_run": ({"maximum_epsilon_run": 0.05}, NOISY, BUDGET, "maximum_epsilon_run = 0.05"),
    "maximum_delta": ({"maximum_delta": 1e-9}, NOISY, BUDGET, "maximum_delta = 1e-09"),
}
"""The rule, settings of a run that breaks it, how it is refused, and by which words."""


@pytest.fixture(scope="module")
def all_hospitals(phantom, tmp_path_factory):
    """Two sites whose images are prepared once."""
    return Hospitals(phantom, tmp_path_factory.mktemp("hospitals"))


@pytest.fixture
def hospitals(all_hospitals):
    """The same without a past."""
    for name in all_hospitals.names:
        all_hospitals.forget(name)
    return all_hospitals


def ledger_of(hospitals, name):
    return ledger.read(hospitals.home(name).folder)


@pytest.mark.parametrize("rule", RULES)
def test_a_site_whose_rule_would_be_broken_is_left_out_before_round_1(hospitals, tmp_path, rule):
    policy, settings, error, words = RULES[rule]
    hospitals.allow("TUH", **policy)
    federation, _ = hospitals.federation(tmp_path, *settings)
    (left_out,) = describe_sites(federation)
    assert (left_out.site, left_out.error) == ("TUH", error)
    assert words in left_out.meaning
    assert hospitals.refusals("TUH") == [("query.describe", error)]


@pytest.mark.parametrize("rule", RULES)
def test_a_coordinator_that_asks_all_the_same_is_refused_all_the_same(hospitals, tmp_path, rule):
    policy, settings, error, words = RULES[rule]
    hospitals.allow("TUH", **policy)
    federation, _ = hospitals.federation(tmp_path, *settings)
    config, nodes = federation.config, {"TUH": connected_sites(federation.grid)["TUH"]}
    order = TrainTask(to_yaml(task_of(config)), 1, config.federation.rounds, 0, "bfloat16", "a" * 32)
    ((_, reply),) = exchange(federation.grid, nodes, lambda _: encode(order), "train", "1", 60)
    with pytest.raises(SiteRefusedError) as refused:
        answer(reply, TrainReport)
    assert refused.value.refusal.error == error and words in refused.value.refusal.meaning
    assert hospitals.refusals("TUH") == [("train", error)]
    assert ledger_of(hospitals, "TUH") == [], "nothing was spent"


@pytest.mark.parametrize("rule", ["fixed", "maximum_epsilon"])
def test_the_run_goes_on_with_the_other_sites_and_names_the_one_in_every_round(hospitals, tmp_path, rule):
    policy, settings, error, words = RULES[rule]
    hospitals.allow("TUH", **policy)
    federation, model = hospitals.federation(tmp_path, *settings, "federation.rounds=2")
    federation.left_out = describe_sites(federation)
    for record in run_rounds(federation, model):
        assert list(record.train) == ["MCS"]
        assert record.quarantined[0] == federation.left_out[0]
        assert "TUH" not in record.missing
    assert ("train", error) not in hospitals.refusals("TUH"), "it was not asked"
    (line, _) = (tmp_path / "rounds.jsonl").read_text().splitlines()
    assert words in json.loads(line)["quarantined"][0]["meaning"]


def test_without_enough_other_sites_the_run_is_not_begun(hospitals, tmp_path):
    hospitals.allow("TUH", maximum_epsilon=0.05)
    federation, _ = hospitals.federation(tmp_path, *NOISY, "federation.quorum=1.0")
    with pytest.raises(DisagreementError, match="TUH's policy: the run would overrun the budget"):
        describe_sites(federation)


def test_the_round_that_would_overrun_is_not_begun_and_the_others_go_on(hospitals, tmp_path):
    """The budget is what two of the four rounds cost, and the coordinator did not ask before."""
    settings = [*NOISY, "federation.rounds=4"]
    federation, model = hospitals.federation(tmp_path, *settings)
    assert describe_sites(federation) == []
    planned = json.loads((tmp_path / "sites.json").read_text())["TUH"]["planned"]
    counts = json.loads((tmp_path / "sites.json").read_text())["TUH"]["splits"]["train"]
    once = steps_of_round(federation.config.privacy, 1, counts["patients"], 10)
    assert planned == {
        "epsilon": epsilon_of([once] * 4, planned["delta"], "rdp"),
        "delta": 0.1 / counts["patients"],
        "unit": "patient",
    }
    two = epsilon_of([once] * 2, planned["delta"], "rdp")
    hospitals.allow("TUH", maximum_epsilon=two)
    records = run_rounds(federation, model)
    assert [list(record.train) for record in records] == [["MCS", "TUH"]] * 2 + [["MCS"]] * 2
    assert records[1].train["TUH"].privacy.epsilon == two
    assert "one more round would overrun the budget" in records[2].quarantined[0].meaning
    assert [line.round for line in ledger_of(hospitals, "TUH")] == [1, 2]
    assert [line.round for line in ledger_of(hospitals, "MCS")] == [1, 2, 3, 4]
    assert [request for request, error in hospitals.refusals("TUH") if error == BUDGET] == ["train"] * 2


def test_a_budget_spans_runs_and_what_others_spent_is_not_told(hospitals, tmp_path):
    for name in ("first", "second"):
        federation, model = hospitals.federation(tmp_path / name, *NOISY)
        (record,) = run_rounds(federation, model)
    spent = record.train["TUH"].privacy.epsilon
    assert len({line.run for line in ledger_of(hospitals, "TUH")}) == 2
    hospitals.allow("TUH", maximum_epsilon=3 * spent, maximum_epsilon_run=spent)
    federation, model = hospitals.federation(tmp_path / "third", *NOISY)
    assert describe_sites(federation) == []
    hospitals.allow("TUH", maximum_epsilon=1.05 * spent)
    (refused,) = describe_sites(federation)
    assert refused.meaning.startswith("the run would overrun the budget of this site's patients (policy:")


def test_a_ledger_that_was_cut_stops_private_training_and_nothing_else(hospitals, tmp_path):
    federation, model = hospitals.federation(tmp_path / "private", *NOISY, "federation.rounds=2")
    run_rounds(federation, model)
    file = hospitals.home("TUH").folder / ledger.LEDGER
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    federation, model = hospitals.federation(tmp_path / "again", *NOISY)
    (record,) = run_rounds(federation, model)
    assert list(record.train) == ["MCS"]
    assert "LedgerError" in record.quarantined[0].meaning
    federation, model = hospitals.federation(tmp_path / "open")
    assert list(run_rounds(federation, model)[0].train) == ["MCS", "TUH"]
