"""Orders on disk, and a Control interface that answers as a SuperLink would: states, retries, pauses."""

import json

import httpx
import pytest

from common.atomic import write_text
from common.audit import read
from common.configuration import load_run
from common.errors import RunStateError
from common.locking import held
from server.federation import keeper
from server.federation.home import FederationHome
from server.federation.keeper import MAXIMUM_ATTEMPTS, Pulse, keep_runs
from server.federation.runs import FAILURE, LAST_RESULT, LOCK, all_runs, new_run, resume, stop


class Control:
    """Runs that are begun, and how each is at the moment."""

    def __init__(self):
        self.status, self.folders = {}, []

    def start_run(self, folder):
        self.folders.append(folder.name)
        self.status[len(self.folders)] = "running"
        return len(self.folders)

    def run_status(self, number):
        if number not in self.status:
            response = httpx.Response(404, request=httpx.Request("POST", "https://x"))
            raise httpx.HTTPStatusError("unknown run", request=response.request, response=response)
        return self.status[number]

    def stop_run(self, number):
        self.status[number] = "finished:stopped"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(keeper, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def home(tmp_path):
    return FederationHome(tmp_path)


@pytest.fixture
def control():
    return Control()


def keep(home, control, pulse=None):
    keep_runs(home, control, pulse or Pulse())


def order(home, name="a"):
    return new_run(home, name, load_run("tiny"))


def rounds(run, number):
    write_text(run.folder / "rounds.jsonl", "{}\n" * number)


def fail(run, error):
    write_text(run.folder / FAILURE, json.dumps({"error": error, "what": "w", "where": "x", "do": "d"}))


def test_a_run_is_begun_watched_and_finished(home, control):
    run = order(home)
    keep(home, control)
    assert (run.state.state, run.state.attempts) == ("running", 1)
    control.status[1] = "finished:completed"
    write_text(run.folder / LAST_RESULT, "")
    keep(home, control)
    assert run.state.state == "finished"
    assert [entry.event for entry in read(home.audit)] == ["run ordered", "run begun", "run finished"]
    with pytest.raises(RunStateError, match="is finished"):
        resume(home, "a")


def test_completed_without_results_is_not_believed(home, control):
    run = order(home)
    keep(home, control)
    control.status[1] = "finished:completed"
    keep(home, control)
    assert run.state.state == "queued"


def test_runs_are_worked_on_one_at_a_time_in_the_order_they_came(home, control):
    runs = [order(home, name) for name in ("b", "a", "c")]
    for _ in range(3):
        keep(home, control)
    assert control.folders == ["b"]
    control.status[1] = "finished:failed"
    fail(runs[0], "CheckpointError")
    keep(home, control)
    keep(home, control)
    assert control.folders == ["b", "a"]
    assert [run.state.state for run in runs] == ["failed", "running", "queued"]


@pytest.mark.parametrize("error", ["QuorumError", "StorageError"])
def test_a_lost_quorum_or_a_full_disk_pauses_the_run_and_resume_goes_on(home, control, error):
    run = order(home)
    keep(home, control)
    control.status[1] = "finished:failed"
    fail(run, error)
    for _ in range(3):
        keep(home, control)
    assert (run.state.state, run.state.reason) == ("paused", "w. x. d")
    assert control.folders == ["a"]
    resume(home, "a")
    keep(home, control)
    assert (run.state.state, control.folders) == ("running", ["a", "a"])
    assert run.failure() is None


def test_a_killed_attempt_is_begun_again_as_long_as_rounds_are_made(home, control):
    run = order(home)
    for attempt in range(1, 2 * MAXIMUM_ATTEMPTS):
        keep(home, control)
        assert len(control.folders) == attempt
        rounds(run, attempt)
        control.status[attempt] = "finished:failed"
        keep(home, control)
    assert run.state.state == "queued"


def test_attempts_without_a_new_round_come_to_an_end(home, control):
    run = order(home)
    for _ in range(3 * MAXIMUM_ATTEMPTS):
        keep(home, control)
        control.status[len(control.folders)] = "finished:failed"
    assert run.state.state == "failed"
    assert len(control.folders) == MAXIMUM_ATTEMPTS
    assert f"{MAXIMUM_ATTEMPTS} attempts ended without a new round" in run.state.reason


def test_a_superlink_that_lost_its_database_gets_the_run_again(home, control):
    order(home)
    keep(home, control)
    control.status.clear()
    keep(home, control)
    keep(home, control)
    assert control.folders == ["a", "a"]


def test_stop_ends_a_running_and_a_waiting_run(home, control):
    runs = [order(home, name) for name in ("a", "b")]
    keep(home, control)
    for name in ("a", "b"):
        stop(home, name)
    keep(home, control)
    assert [run.state.state for run in runs] == ["stopped", "stopped"]
    assert control.status[1] == "finished:stopped"
    with pytest.raises(RunStateError, match="ended already"):
        stop(home, "a")
    resume(home, "b")
    keep(home, control)
    assert control.folders == ["a", "b"]


def test_a_run_that_has_not_ended_is_not_resumed_and_a_name_is_given_once(home, control):
    order(home)
    for _ in range(2):
        with pytest.raises(RunStateError, match="has not ended"):
            resume(home, "a")
        keep(home, control)
    with pytest.raises(RunStateError, match="already"):
        order(home)
    with pytest.raises(RunStateError, match="known: a"):
        stop(home, "nonsense")


def test_a_damaged_state_harms_no_other_run(home, control):
    damaged, good = order(home, "a"), order(home, "b")
    write_text(damaged.folder / "state.json", "{")
    keep(home, control)
    assert good.state.state == "running"
    assert [run.name for run in all_runs(home)] == ["a", "b"]


def test_an_attempt_whose_process_was_killed_is_begun_again_though_flower_believes_that_it_lives(
    home, control, monkeypatch
):
    monkeypatch.setattr(keeper, "ENDING_SECONDS", 0.0)
    run, pulse = order(home), Pulse()
    keep(home, control, pulse)
    with held(run.folder / LOCK, "this run"):
        for _ in range(3):
            keep(home, control, pulse)
        assert (run.state.state, control.status) == ("running", {1: "running"})
    keep(home, control, pulse)
    assert (run.state.state, control.status) == ("queued", {1: "finished:stopped"})
    keep(home, control, pulse)
    assert (run.state.state, run.state.attempts, control.folders) == ("running", 2, ["a", "a"])


def test_an_attempt_that_has_not_come_to_work_yet_is_waited_for(home, control, monkeypatch):
    monkeypatch.setattr(keeper, "ENDING_SECONDS", 0.0)
    run, pulse = order(home), Pulse()
    for _ in range(3):
        keep(home, control, pulse)
    assert (run.state.state, control.folders) == ("running", ["a"])


def test_an_attempt_that_is_about_to_tell_how_it_ended_is_waited_for(home, control):
    run, pulse = order(home), Pulse()
    keep(home, control, pulse)
    with held(run.folder / LOCK, "this run"):
        keep(home, control, pulse)
    keep(home, control, pulse)
    assert control.status == {1: "running"}
    control.status[1] = "finished:completed"
    write_text(run.folder / LAST_RESULT, "")
    keep(home, control, pulse)
    assert run.state.state == "finished"


def test_an_attempt_that_was_killed_when_everything_was_written_is_finished(home, control, monkeypatch):
    monkeypatch.setattr(keeper, "ENDING_SECONDS", 0.0)
    run, pulse = order(home), Pulse()
    keep(home, control, pulse)
    with held(run.folder / LOCK, "this run"):
        keep(home, control, pulse)
        write_text(run.folder / LAST_RESULT, "")
    keep(home, control, pulse)
    assert (run.state.state, control.folders) == ("finished", ["a"])


def test_results_of_an_earlier_attempt_do_not_make_a_run_finished(home, control):
    run = order(home)
    write_text(run.folder / LAST_RESULT, "")
    keep(home, control)
    control.status[1] = "finished:completed"
    keep(home, control)
    assert run.state.state == "queued"
