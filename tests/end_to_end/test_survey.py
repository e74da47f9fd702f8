"""``xai-server shift``: from the order over the ServerApp and the hospitals' policies to the page. No transport."""

import contextlib
import json
import time

import pytest
import yaml
from flwr.app import Context, RecordDict
from typer.testing import CliRunner

from client.node.home import SiteHome
from common import audit
from common.configuration import load_run
from common.errors import QuorumError
from server.cli import app
from server.federation import serverapp
from server.federation.founding import found
from server.federation.home import FederationHome, FederationSettings
from server.federation.keeper import Pulse, keep_runs
from server.federation.runs import FAILURE, State, find_run
from server.initial import initial_model
from server.publish import write_model
from simulations.local_grid import LocalGrid
from tests.end_to_end.hospitals import Hospitals

ADMITTED = ("MCS", "TUH", "UNSEEN", "AWAY")


@pytest.fixture(scope="module")
def all_hospitals(phantom, tmp_path_factory):
    """Three sites whose images are prepared once; the fourth that is admitted never connects."""
    return Hospitals(phantom, tmp_path_factory.mktemp("hospitals"), ADMITTED[:3])


@pytest.fixture
def hospitals(all_hospitals):
    for name in all_hospitals.names:
        all_hospitals.forget(name)
    return all_hospitals


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A published classifier whose run kept enough patients for validation that their features may be told of."""
    path, config = tmp_path_factory.mktemp("model") / "m.safetensors", load_run("tiny", ["data.validation_fraction=.4"])
    write_model(path, initial_model(config).state_dict(), config, 3, -0.5)
    return path


@pytest.fixture
def home(tmp_path):
    """A federation with four admitted sites."""
    place = FederationHome(tmp_path / "federation")
    found(place, FederationSettings("test", "127.0.0.1", 1, "127.0.0.1", list(ADMITTED)))
    keys = [{"site": site, "public_key": f"ecdsa-sha2-nistp384 {site}", "admitted": "2026"} for site in ADMITTED]
    place.sites_file.write_text(yaml.safe_dump(keys))
    return place


class Connected:
    """A SuperLink's Control interface; whatever run it is told to start, it does at once."""

    def __init__(self, hospitals):
        self.hospitals = hospitals

    def start_run(self, folder):
        grid = LocalGrid(self.hospitals, {name: {"site": name} for name in self.hospitals.names})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serverapp, "HttpGrid", LocalGrid)
            patch.setattr(serverapp, "BoundedGrid", lambda bounded, _: bounded)
            patch.setattr(serverapp, "look_often", lambda: None)
            with contextlib.suppress(QuorumError):  # Flower's runner ends with it
                serverapp.app(grid, Context(1, 1, {}, RecordDict(), {"run-folder": str(folder)}))
        return 1

    def run_status(self, number):
        return "finished:completed"


def ask(home, *arguments):
    return CliRunner().invoke(app, ["shift", *arguments, "--home", str(home.folder)])


def ordered(home, hospitals, *arguments):
    """The survey when the server has carried out the order."""
    result = ask(home, *arguments, "--scenario", "tiny", "--name", "s", "joining=0", "training.threads=1", "--detach")
    assert result.exit_code == 0, result.output
    control = Connected(hospitals)
    for _ in range(2):
        keep_runs(home, control, Pulse())
    return find_run(home, "s")


def test_connected_sites_are_compared_and_the_page_says_who_is_not_and_why(home, hospitals, model):
    hospitals.allow("UNSEEN", tell_shift=False)
    run = ordered(home, hospitals, "--model", str(model))
    assert run.state.state == "finished", run.failure()
    shift = json.loads((run.folder / "shift.json").read_text())
    assert list(shift["sites"]) == ["MCS", "TUH"]
    assert shift["left_out"] == {
        "AWAY": "not connected",
        "UNSEEN": "the site refused with PolicyRefusalError: this site does not tell what its images and patients "
        "look like (policy: tell_shift)",
    }
    assert shift["distances"][0]["intensity"] > 0 and len(shift["sites"]["TUH"]["feature_mean"]) > 8
    page = (run.folder / "shift.html").read_text()
    assert "not compared: not connected" in page and "(policy: tell_shift)" in page
    shown = CliRunner().invoke(app, ["show", "s", "--home", str(home.folder)])
    assert shown.exit_code == 0 and "recommended: method=" in shown.output
    assert "run s is finished; page:" in shown.output and "shift of" in shown.output
    assert hospitals.refusals("UNSEEN") == [("query.shift", "PolicyRefusalError")]
    asked = [entry.details["kind"] for entry in audit.read(SiteHome(hospitals.folder / "TUH").audit)]
    assert "ShiftTask" in asked and "ShiftReport" in asked
    assert [entry.event for entry in audit.read(home.audit)][-3:] == ["survey ordered", "run begun", "run finished"]


def test_with_one_answer_the_survey_pauses_says_why_and_goes_on_when_it_is_resumed(home, hospitals):
    for name in ("TUH", "UNSEEN"):
        hospitals.allow(name, minimum_patients=999)
    run = ordered(home, hospitals)
    assert (run.state.state, run.failure().error) == ("paused", "QuorumError")
    assert "TUH: the site refused with PolicyRefusalError: fewer than 999 patients" in run.state.reason
    assert not (run.folder / "shift.html").exists()
    hospitals.allow("TUH")
    assert CliRunner().invoke(app, ["resume", "s", "--detach", "--home", str(home.folder)]).exit_code == 0
    control = Connected(hospitals)
    for _ in range(2):
        keep_runs(home, control, Pulse())
    assert run.state.state == "finished" and not (run.folder / FAILURE).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sites=MCS"], 2, "MCS is one site"),
        (["sites=MCS,MGH"], 30, "MGH is not admitted"),
        (["imaging.harmonization=none"], 2, "imaging.harmonisation"),
        (["--model", "federation.yaml"], 20, "cannot read the model"),
        (["--name", "old"], 37, "there is a run 'old' already"),
    ],
)
def test_bad_input_is_refused_before_anything_is_ordered(home, arguments, code, message):
    (home.runs / "old").mkdir(parents=True)
    result = ask(home, *arguments)
    assert result.exit_code == code and message in result.output
    assert [path.name for path in home.runs.iterdir()] == ["old"]


def test_without_a_server_the_command_says_that_the_order_waits(home):
    result = ask(home, "--name", "s")
    assert result.exit_code == 0 and "the server is not running" in result.output
    run = find_run(home, "s")
    run.write(State("paused", run.order.number, reason="x", since=time.time()))
    (run.folder / FAILURE).write_text(json.dumps({"error": "QuorumError", "what": "w", "where": "", "do": ""}))
    shown = CliRunner().invoke(app, ["show", "s", "--follow", "--home", str(home.folder)])
    assert shown.exit_code == 23
