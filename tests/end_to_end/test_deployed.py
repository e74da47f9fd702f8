"""A federation as hospitals run it: real processes, TLS over loopback, two sites of phantom patients.

One federation serves all tests of this file, in order: each test uses what the one before left. A third hospital,
UNSEEN, is admitted and not connected; the tests of what goes wrong at a hospital start it as they need it.
"""

import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.fab import Fab

from client.node.home import SiteHome
from common import audit
from common.processes import free_port
from server.federation.runs import find_run
from tests.end_to_end.conftest import PLAIN
from tests.end_to_end.deployed import Deployed, children, examined, named, peak_memory

pytestmark = pytest.mark.slow

HOSTILE_NODE = Path(__file__).with_name("hostile_node.py")
CLASSIFIER = ["task=classifier", "method=fedavg", "rounds=2", "training.threads=1", *PLAIN]
SETTINGS = [*CLASSIFIER, "sites=MCS,TUH", "quorum=2"]
EXPLAINED = ("evaluation.explained=6", "evaluation.explainers=[hirescam]")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, phantom):
    made = Deployed(tmp_path_factory.mktemp("deployed"), phantom)
    port = free_port()
    made.call("server.cli", "init", "test", "--host", "127.0.0.1", "--listen", "127.0.0.1", "--port", port,
              "--sites", "MCS,TUH,UNSEEN")  # fmt: skip
    for site in ("MCS", "TUH", "UNSEEN"):
        made.enrol(site)
    made.launch("server", "server.cli", "start")
    for site in ("MCS", "TUH"):
        made.node(site)
    try:
        made.wait(lambda: made.online() == {"MCS", "TUH"}, "both sites online")
        yield made
    finally:
        for process in made.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in made.processes.values():
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()


def test_two_rounds_over_tls_give_the_bits_of_the_simulation(deployed, run, tmp_path):
    shown = deployed.call("server.cli", "train", "--scenario", "tiny", "--name", "first", *SETTINGS, *EXPLAINED)
    assert "run first is finished" in shown
    folder = deployed.home.runs / "first"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["rounds"] == 2
    assert list(summary["sites"]) == ["MCS", "TUH"]
    assert (folder / "report.html").exists()
    alone = run(deployed.phantom, tmp_path / "alone", "sites=[MCS,TUH]", "unseen=[]", "phantom.unseen=[]",
                "federation.quorum=1.0", "federation.rounds=2", *EXPLAINED)  # fmt: skip
    assert alone.exit_code == 0, alone.output
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "alone" / "model.safetensors").read_bytes()


def test_the_audit_logs_tell_who_asked_what_and_what_left(deployed):
    entries = audit.read(deployed.folder / "sites" / "TUH" / "audit.jsonl")
    asked = [entry for entry in entries if entry.event == "asked"]
    answered = [entry for entry in entries if entry.event == "answered"]
    assert [entry.details["kind"] for entry in asked] == [
        "DescribeTask",
        *["TrainTask", "EvaluateTask"] * 2,
        "EvaluateTask",
    ]
    assert [entry.details["to"] for entry in answered] == [entry.number for entry in asked]
    updates = [entry.details["bytes"] for entry in answered if entry.details["kind"] == "TrainReport"]
    models = [entry.details["bytes"] for entry in asked if entry.details["kind"] == "TrainTask"]
    assert all(0.45 * model < update < 0.55 * model for update, model in zip(updates, models, strict=True))  # bfloat16
    assert "chain intact" in deployed.call("client.cli", "--site", "TUH", "audit", "--verify")
    events = [entry.event for entry in audit.read(deployed.home.audit)]
    assert events[-3:] == ["run ordered", "run begun", "run finished"]


def test_connected_hospitals_tell_how_far_they_are_apart(deployed, untrained):
    settings = ["sites=MCS,TUH", "training.threads=1", "--model", untrained]
    shown = deployed.call("server.cli", "shift", "--scenario", "tiny", "--name", "apart", *settings)
    assert "recommended: method=" in shown and "run apart is finished; page:" in shown
    found = json.loads((deployed.home.runs / "apart" / "shift.json").read_text())
    assert list(found["sites"]) == ["MCS", "TUH"] and found["left_out"] == {}
    assert found["distances"][0]["intensity"] > 0
    assert (deployed.home.runs / "apart" / "shift.html").exists()


def ask(deployed, path, method="GET", body=None, headers=None):
    """A stranger's request to the public port; returns the status code."""
    port = yaml.safe_load(deployed.home.settings_file.read_text())["port"]
    trusted = ssl.create_default_context(cafile=str(deployed.home.authority))
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", method=method, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, context=trusted, timeout=120) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_stranger_reaches_health_and_nothing_else(deployed):
    from flwr.superlink.main import create_app

    protobuf = {"content-type": "application/x-protobuf"}
    assert ask(deployed, "/health") == 200
    for path in create_app().openapi()["paths"]:
        if path == "/health":
            continue
        code = ask(deployed, path, "POST", b"", protobuf)
        assert code in ((400, 401, 415, 422) if path.startswith("/v1/fleet/") else (404,)), f"{path}: {code}"
    for path in ("/docs", "/openapi.json", "/", "//v1/control/list-runs", "/v1/fleet/../control/list-runs",
                 "/v1/fleet/%2e%2e/control/list-runs", "/V1/CONTROL/list-runs"):  # fmt: skip
        assert ask(deployed, path) == 404, path


def test_an_unregistered_key_is_refused(deployed):
    kit = deployed.home.kits / "TUH.kit.yaml"
    other = deployed.folder / "stranger" / "TUH"
    deployed.call("client.cli", "enrol", kit, "--site", "TUH", "--data", deployed.phantom / "TUH", "--state", other)
    examined(SiteHome(other), deployed.phantom / "TUH")
    deployed.launch("stranger", "client.cli", "--site", "TUH", "--state", other)
    deployed.wait(lambda: "SuperNode ended with" in (deployed.folder / "stranger.log").read_text(), "the refusal")
    assert "Failed to initialize the connection" in (other / "log" / "supernode.log").read_text()
    said = "refused by the coordinator: KeyNotAdmitted: the key SHA256:"
    deployed.wait(lambda: said in (deployed.folder / "stranger.log").read_text(), "the reason, for the hospital")
    assert "refused: KeyNotAdmitted: the key SHA256:" in (deployed.home.logs / "superlink.log").read_text()
    assert deployed.stop("stranger") == 0
    assert len([node for node in deployed.control().nodes() if node.name == "TUH"]) == 1


HOSTILE = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "hostile"
version = "1.0.0"
description = "h"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "x"
[tool.flwr.app.components]
serverapp = "attack:app"
clientapp = "client.app:app"
[tool.flwr.app.config]
""",
    "client/__init__.py": "open({marker!r}, 'a').write('imported')\n",
    "client/app.py": "from flwr.clientapp import ClientApp\nopen({marker!r}, 'a').write('run')\napp = ClientApp()\n",
    "attack.py": """
import json, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
@app.main()
def main(grid, context):
    content = RecordDict({{"message": ConfigRecord({{"kind": "Shell", "body": "rm -rf /"}})}})
    nodes = [node.node_id for node in grid.get_nodes()]
    replies = []
    for kind in ("train", "query.describe"):
        replies += grid.send_and_receive([Message(content, node, kind) for node in nodes], timeout=300)
    with open({answers!r}, "w") as file:
        json.dump([reply.content["message"]["body"] for reply in replies], file)
""",
}


def test_a_hostile_bundle_is_never_executed_in_a_hospital(deployed):
    marker, answers = deployed.folder / "marker", deployed.folder / "answers.json"
    files = {name: text.format(marker=str(marker), answers=str(answers)).encode() for name, text in HOSTILE.items()}
    files["pyproject.toml"] = HOSTILE["pyproject.toml"].encode()
    bundle, _ = build_fab_from_files(files)
    fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
    control = deployed.control()
    number = control._client.StartRun(StartRunRequest(fab=fab_to_proto(fab))).run_id
    deployed.wait(lambda: control.run_status(number).startswith("finished"), "the end of the hostile run")
    assert control.run_status(number) == "finished:completed"
    replies = [json.loads(text) for text in json.loads(answers.read_text())]
    assert len(replies) == 4
    assert {reply["error"] for reply in replies} == {"PolicyRefusalError"}
    assert not marker.exists()


def test_after_kills_on_both_sides_the_run_ends_with_the_same_bits(deployed):
    """SIGKILL in the middle of rounds: for the ServerApp's process, one site's executor, the other's SuperNode.

    None of the three is waited for until Flower believes that it is dead.
    """
    refusals = deployed.folder / "sites" / "MCS" / "log" / "supernode.log"
    before = refusals.read_text().count("Failed to initialize the connection")
    deployed.call("server.cli", "train", "--scenario", "tiny", "--name", "killed", "--detach", *SETTINGS, *EXPLAINED)
    progress = deployed.home.runs / "killed" / "progress.log"
    deployed.wait(lambda: progress.exists() and "round 1/2" in progress.read_text(), "round 1")
    os.kill(named(deployed.processes["server"].pid, "flwr-serverapp"), signal.SIGKILL)
    os.kill(named(deployed.processes["TUH"].pid, "client.node.executor"), signal.SIGKILL)
    os.kill(named(deployed.processes["MCS"].pid, "client.node.supernode"), signal.SIGKILL)
    shown = deployed.call("server.cli", "show", "killed", "--follow")
    assert "run killed is finished" in shown
    assert "resuming after round" in shown
    models = [(deployed.home.runs / name / "model.safetensors").read_bytes() for name in ("first", "killed")]
    assert models[0] == models[1]
    assert "its process ended without a word" in (deployed.folder / "server.log").read_text()
    assert "executor ended with -9" in (deployed.folder / "TUH.log").read_text()
    assert "SuperNode ended with -9" in (deployed.folder / "MCS.log").read_text()
    assert refusals.read_text().count("Failed to initialize the connection") == before, "it was not let in at once"


def test_without_a_quorum_the_run_pauses_and_says_who_is_missing(deployed):
    settings = [*CLASSIFIER, "sites=MCS,UNSEEN", "quorum=2", "joining=1", "deadline=3"]
    shown = deployed.call("server.cli", "train", "--scenario", "tiny", "--name", "few", *settings, status=23)
    assert "run few: paused: only 1 of 2 sites are connected, 2 are needed. missing: UNSEEN" in shown
    assert re.search(r"few +paused", deployed.call("server.cli", "runs"))


HOSTILE_ROUNDS = [
    ("MessageTooLargeError", f"the arrays would take {410 * (5 * 2**20 + 20)} bytes"),  # chunks and their heads
    ("MessageTooLargeError", "objects are announced"),
]


def test_a_hospital_that_answers_with_rubbish_is_quarantined_by_name_and_the_run_goes_on(deployed):
    """2 GiB that travel as 5 MiB; 150 MB for a small model."""
    with (deployed.folder / "UNSEEN.log").open("ab") as log:
        command = [sys.executable, HOSTILE_NODE, "sites/UNSEEN"]
        deployed.processes["UNSEEN"] = subprocess.Popen(command, cwd=deployed.folder, stdout=log, stderr=log)
    deployed.wait(lambda: deployed.online() == {"MCS", "TUH", "UNSEEN"}, "the hostile UNSEEN online")
    settings = [*CLASSIFIER, "sites=MCS,UNSEEN", "quorum=1"]
    settings.append("model.backbone=resnet10")  # whose updates take more than the 5 MiB
    deployed.call("server.cli", "train", "--scenario", "tiny", "--name", "spoilt", "--detach", *settings)
    memory = 0

    def ended():
        nonlocal memory
        for pid in children(deployed.processes["server"].pid):
            memory = max(memory, peak_memory(pid))
        return (deployed.home.runs / "spoilt" / "report.html").exists()

    deployed.wait(ended, "the end of the run", 900)
    records = [json.loads(line) for line in (deployed.home.runs / "spoilt" / "rounds.jsonl").read_text().splitlines()]
    for record, (error, says) in zip(records, HOSTILE_ROUNDS, strict=True):
        assert list(record["train"]) == ["MCS"]
        (found,) = record["quarantined"]
        assert (found["site"], found["error"]) == ("UNSEEN", error)
        assert says in found["meaning"]
    report = (deployed.home.runs / "spoilt" / "report.html").read_text()
    assert all(error in report for error, _ in HOSTILE_ROUNDS)
    assert memory < 2 * 2**30
    assert deployed.stop("UNSEEN") == 0


LATE = """
import datetime
right = datetime.datetime
class Late(right):
    @classmethod
    def now(cls, tz=None):
        return right.now(tz) - datetime.timedelta(hours=1)
datetime.datetime = Late
"""
"""Run by every Python process of the site at its start. libfaketime would also stop every wait with a deadline."""


def test_a_clock_that_is_off_by_an_hour_is_named_on_both_sides(deployed):
    late = deployed.folder / "late"
    late.mkdir()
    (late / "sitecustomize.py").write_text(LATE)
    path = os.pathsep.join([str(late), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (deployed.folder / "late.log").open("ab") as log:
        command = [sys.executable, "-m", "client.cli", "--site", "UNSEEN"]
        deployed.processes["late"] = subprocess.Popen(
            command, cwd=deployed.folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": path}
        )
    named = "clock is 60 min behind the coordinator's"
    deployed.wait(lambda: named in (deployed.folder / "late.log").read_text(), "the site's own word", 120)
    door = deployed.home.logs / "superlink.log"
    told = "ClockWrong: the clock of UNSEEN is 60 min behind the coordinator's"
    deployed.wait(lambda: told in door.read_text(), "the coordinator's log", 120)
    assert deployed.online() == {"MCS", "TUH"}
    assert deployed.stop("late") == 0


def test_a_stopped_run_goes_on_and_a_revoked_site_is_shut_out(deployed):
    deployed.call("server.cli", "train", "--scenario", "tiny", "--name", "stopped", "--detach", *SETTINGS, "rounds=9")
    rounds = deployed.home.runs / "stopped" / "rounds.jsonl"
    deployed.wait(rounds.exists, "round 1")
    deployed.call("server.cli", "stop", "stopped")
    deployed.wait(lambda: find_run(deployed.home, "stopped").state.state == "stopped", "the stop")
    assert re.search(r"stopped +stopped", deployed.call("server.cli", "runs"))
    deployed.call("server.cli", "sites", "--revoke", "TUH")
    deployed.wait(lambda: deployed.online() == {"MCS"}, "TUH shut out")
    said = "refused by the coordinator: KeyRevoked: the key SHA256:"
    deployed.wait(lambda: said in (deployed.folder / "TUH.log").read_text(), "the reason, for the hospital")
    shown = deployed.call("server.cli", "resume", "stopped", "--detach")
    assert "ordered again" in shown
    deployed.call("server.cli", "stop", "stopped")


def test_a_graceful_stop_leaves_no_process(deployed):
    below = [pid for process in deployed.processes.values() for pid in children(process.pid)]
    assert len(below) >= 4
    assert {name: deployed.stop(name) for name in list(deployed.processes)} == {"server": 0, "MCS": 0, "TUH": 0}
    alive = [pid for pid in below if Path(f"/proc/{pid}").exists()]
    assert alive == []
