"""``xai-client ledger``: what was spent and is left, what the next run would cost, and a ledger that was cut."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from client.cli import app
from client.privacy import ledger, patients
from client.privacy.accounting import epsilon_of
from client.privacy.ledger import AUDIT, LEDGER, Spend
from client.privacy.plan import Steps, steps_of_round
from common import audit
from common.configuration import load_run
from common.data.manifest import read_manifest
from common.data.split import assign_splits
from simulations.phantom.dataset import write_site

STEPS = Steps(2.0, 1.0, 3)
RUN, OTHER = "a" * 32, "b" * 32
SMALL = ["--run", "tiny", "model.norm=group", "privacy.unit=patient", "privacy.noise_multiplier=2",
         "privacy.patients_per_step=99", "federation.rounds=4"]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_site("TUH", 12, tmp_path_factory.mktemp("hospitals"), rows=128, workers=1).parent


@pytest.fixture(scope="module")
def learners(archive):
    """Training patients as the shipped split has them."""
    data = load_run("tiny").data
    manifest = assign_splits(read_manifest(archive, "TUH"), data.validation_fraction, data.test_fraction)
    return sorted({breast.patient_id for breast in manifest.breasts if breast.split == "train"})


@pytest.fixture
def state(tmp_path, archive):
    settings = {"site": "TUH", "federation": "f", "address": "a:1", "data": str(archive), "code": "x"}
    settings["policy"] = {"maximum_epsilon": 8.0, "maximum_epsilon_run": 6.0}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def spend(state, people, run, number):
    key = patients.make_key(state)
    data = patients.remember(state, patients.hashed(key, people))
    ledger.write(state, Spend(run, number, "classifier", len(people), data, patients.mark(key), STEPS.noise_multiplier,
                              STEPS.sample_rate, STEPS.steps, 1e-3, "rdp"))  # fmt: skip


def call(state, *arguments):
    return CliRunner().invoke(app, ["--site", "TUH", "--state", str(state), "ledger", *arguments])


def test_without_a_past_nothing_is_spent(state):
    result = call(state)
    assert result.exit_code == 0, result.output
    assert "0 lines" in result.output and "nothing was trained privately yet" in result.output
    assert "in total epsilon 8, a run epsilon 6" in result.output


def test_spent_and_left_are_told_per_data_set_and_run(state, learners):
    for run, number in ((RUN, 1), (RUN, 2), (OTHER, 1)):
        spend(state, learners, run, number)
    spend(state, ["somebody", learners[0]], OTHER, 2)
    told = json.loads(call(state, "--json").output)
    first, second = told["data"]
    assert first["epsilon"] == pytest.approx(epsilon_of([STEPS] * 4, 1e-3, "rdp"), abs=1e-9)
    assert first["left"] == pytest.approx(8 - first["epsilon"])
    assert first["shared"] == 1 and second["shared"] == 3
    assert [run["epsilon"] for run in first["runs"]] == [
        pytest.approx(epsilon_of([STEPS] * number, 1e-3, "rdp")) for number in (2, 1)
    ]
    assert [run["rounds"] for run in first["runs"]] == [2, 1]
    assert second["patients"] == 2
    assert told["last_hash"] == ledger.last_hash(state)
    assert any("AUC" in line for line in told["not_covered"])
    shown = call(state).output
    for word in ("shares patients with", "aaaaaaaa", "bbbbbbbb", "all runs", f"{first['epsilon']:.3f}", "Not covered"):
        assert word in shown
    assert learners[0] not in shown


def test_the_next_run_is_told_its_price_and_whether_the_policy_allows_it(state, learners):
    before = (state / LEDGER).exists()
    told = json.loads(call(state, *SMALL, "privacy.accountant=rdp", "--json").output)["next"]
    privacy = load_run("tiny", SMALL[2:]).privacy
    once = steps_of_round(privacy, 1, len(learners), 2.0)
    delta = 0.1 / len(learners)
    assert told["cost"]["run_planned"] == pytest.approx(epsilon_of([once] * 4, delta, "rdp"))
    assert told["allowed"] is True and told["patients"] == len(learners)
    assert (state / LEDGER).exists() is before, "asking costs nothing"
    for number in range(8):
        spend(state, learners, RUN, number)
    result = call(state, *SMALL, "privacy.accountant=rdp")
    assert "the policy refuses it: the run would overrun the budget" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["privacy.epsilon=8"], 2, "ask for no privacy"),
        (["--verify", "--accept"], 2, "exclude each other"),
        (["--verify", "privacy.unit=patient"], 2, "exclude each other"),
        (["--run", "nonsense"], 2, "there is no simulation 'nonsense'"),
    ],
)
def test_wrong_use_is_named(state, arguments, code, says):
    result = call(state, *arguments)
    assert result.exit_code == code
    assert says in result.output


def test_a_ledger_that_was_cut_is_named_until_a_person_accepts_it(state):
    for number in (1, 2):
        spend(state, ["p1"], RUN, number)
    result = call(state, "--verify")
    assert result.exit_code == 0 and "2 lines, chain intact" in result.output
    (state / LEDGER).write_text((state / LEDGER).read_text().splitlines(keepends=True)[0])
    for arguments in ([], ["--verify"], ["--json"]):
        result = call(state, *arguments)
        assert result.exit_code == 55, result.output
        assert "cut off or replaced" in result.output
    assert call(state, "--accept").exit_code == 0
    assert "1 lines, chain intact" in call(state, "--verify").output
    assert audit.read(state / AUDIT)[-1].event == ledger.ACCEPTED
