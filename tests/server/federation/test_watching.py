"""What a coordinator sees of a run: its lines, a table a round, time left, and how it ended."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from common.configuration import load_run
from common.locking import held
from common.protocol import PrivacySpent
from server.cli import app
from server.federation.home import FederationHome
from server.federation.runs import FAILURE, PROGRESS, State, new_run
from server.federation.watching import follow, overview, table, time_left
from server.history import Quarantined, RoundRecord, SiteTraining, SiteValidation, write_history

RECORD = RoundRecord(
    1,
    30.0,
    train={
        "MCS": SiteTraining(30, 60, 9, 4, 0.5, 12.0, 2.5, 0.75),
        "TUH": SiteTraining(10, 20, 3, 2, 0.6, 8.0, 3, 0.25),
    },
    quarantined=[Quarantined("RAW", "UpdateNotFiniteError", "w holds values that are not finite")],
    missing=["CR"],
    validation={"MCS": SiteValidation(0.8125, 0.4, 10, 3), "TUH": SiteValidation(None, None, 2, 0)},
    validated=True,
)


@pytest.fixture
def home(tmp_path):
    return FederationHome(tmp_path)


def test_the_table_tells_of_every_site_what_it_did_or_why_not():
    assert list(table(RECORD)) == [
        "    MCS             30 patients  loss 0.500  update 2.5  weight 0.75  AUC 0.812  12 s",
        "    TUH             10 patients  loss 0.600  update 3  weight 0.25  AUC -  8 s",
        "    RAW          not used: UpdateNotFiniteError: w holds values that are not finite",
        "    CR           no reply in time; welcome in the next round",
    ]


def test_the_table_tells_what_privacy_has_cost():
    spent = PrivacySpent(1.234, 1e-4, "patient")
    private = replace(RECORD, train={name: replace(site, privacy=spent) for name, site in RECORD.train.items()})
    assert all("  epsilon 1.23  " in line for line in list(table(private))[: len(RECORD.train)])


def test_time_left_is_the_mean_pace_times_the_rounds_to_come():
    assert time_left([RECORD, replace(RECORD, round=2, seconds=90.0)], 5) == "    about 3 min left"
    assert time_left([RECORD], 2) == "    about 30 s left"


def test_following_a_run_shows_lines_with_their_tables_and_ends_with_it(home):
    run = new_run(home, "a", load_run("tiny", ["sites=[MCS,TUH]"]))
    (run.folder / PROGRESS).write_text("t  round 1/3  loss 0.5\nt  half a li")
    write_history(run.folder / "rounds.jsonl", [RECORD])
    run.write(State("paused", run.order.number, reason="TUH is missing"))
    lines = list(follow(home, run))
    assert lines[0] == "t  round 1/3  loss 0.5"
    assert lines[1:5] == list(table(RECORD))
    assert lines[5:] == [
        "    about 1 min left",
        "run a: paused: TUH is missing; go on with: xai-server resume a",
    ]


def test_without_a_server_following_ends_and_says_so(home):
    run = new_run(home, "a", load_run("tiny"))
    assert "the server is not running" in list(follow(home, run))[-1]
    with held(home.lock, "the server"):
        run.write(State("finished", run.order.number))
        assert list(follow(home, run))[-1].startswith("run a is finished; report:")


def test_an_order_that_nobody_took_up_is_shown_as_ordered(home):
    run = new_run(home, "a", load_run("tiny", ["sites=[MCS,TUH]"]))
    assert "run ordered" in overview(run)
    run.write(State("running", run.order.number))
    assert "running    round 0 of 3  fedavg  MCS, TUH" in overview(run)


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [("finished", "", 0), ("stopped", "", 0), ("paused", "QuorumError", 23), ("failed", "DisagreementError", 36),
     ("failed", "", 37)],
)  # fmt: skip
def test_a_followed_run_that_did_not_succeed_ends_the_command_with_its_errors_code(home, state, error, code):
    run = new_run(home, "a", load_run("tiny"))
    run.write(State(state, run.order.number, reason="why"))
    if error:
        (run.folder / FAILURE).write_text(json.dumps({"error": error, "what": "w", "where": "", "do": ""}))
    result = CliRunner().invoke(app, ["show", "a", "--follow", "--home", str(home.folder)])
    assert result.exit_code == code
    assert f"run a is {state}" in result.output or f"run a: {state}: why" in result.output
