"""The disk is full, at the coordinator during a run and at a site: named, nothing lost, and it goes on after."""

import threading

import pytest
import torch
import yaml
from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from client.node.activity import Activity
from client.node.executor import Executor, answer
from client.node.home import SiteHome
from client.node.taking import Source, Taken
from common import audit
from common.configuration import FederationConfig, RunConfig, load_run, task_of, to_yaml
from common.errors import StorageError
from common.packing import pack
from common.protocol import (
    DescribeTask,
    Estimate,
    EvaluateTask,
    EvaluationReport,
    Refusal,
    SiteDescription,
    TrainReport,
    TrainTask,
)
from common.wire import decode, encode, kind_of
from server.checkpoint import load, path_of, saved_rounds
from server.federation.serverapp import FileReporter
from server.history import read_history
from server.rounds import Federation, run_rounds
from simulations.local_grid import LocalGrid
from simulations.phantom.dataset import write_site
from tests.disk import clear, fill, small_disk

app = ClientApp()
WIDE = 100_000
AT_ROUND = {}
"""What happens at the coordinator's while a site trains."""


@app.train()
def adds_its_round(message, context):
    number = decode(message.content, TrainTask).round
    AT_ROUND.get((context.node_config["site"], number), lambda: None)()
    update = {"w": torch.full((WIDE,), float(number))}
    return Message(encode(TrainReport(10, 10, 3, 1, 0.5, 0.0, number), pack(update)), reply_to=message)


@app.evaluate()
def measures(message, context):
    number = decode(message.content, EvaluateTask).round
    return Message(encode(EvaluationReport(4, 4, 8, 2, 0.5, Estimate(0.75), round=number)), reply_to=message)


def run(folder):
    grid = LocalGrid(app, {name: {"site": name} for name in "ABC"})
    config = RunConfig(sites=list("ABC"), federation=FederationConfig(rounds=4, wire_dtype="float32"))
    run_rounds(Federation(grid, config, folder, frozenset({"w"})), {"w": torch.zeros(WIDE)})
    return load(path_of(folder, 4), config).model["w"]


@pytest.mark.parametrize("number", [1, 3])
def test_at_the_coordinator(tmp_path, number):
    """In round 1 updates that wait on the disk do not fit, in round 3 the checkpoint does not."""
    whole = run(tmp_path / "whole")
    with small_disk(tmp_path / "disk", 8) as disk:
        folder = disk / "run"
        AT_ROUND["A", number] = lambda: fill(disk)
        with pytest.raises(StorageError, match="No space left on device") as full:
            run(folder)
        AT_ROUND.clear()
        assert "free some space" in str(full.value)
        assert saved_rounds(folder) == list(range(1, number))[-2:]
        assert [record.round for record in read_history(folder / "rounds.jsonl")] == list(range(1, number))
        rubbish = [item.name for item in (folder / "checkpoints").glob(".*")] if number > 1 else []
        assert rubbish == []
        assert not (folder / "waiting").exists()
        clear(disk)
        assert torch.equal(run(folder), whole)
        assert [record.round for record in read_history(folder / "rounds.jsonl")] == [1, 2, 3, 4]


def test_the_progress_of_a_run_is_no_reason_to_end_it(tmp_path, caplog):
    with small_disk(tmp_path / "disk", 1) as disk:
        reporter = FileReporter(disk / "progress.log")
        reporter.say("before")
        fill(disk)
        for _ in range(200):  # the page that the file has already may take some lines
            reporter.say("x" * 100)
        assert "No space left on device" in caplog.text
        clear(disk)
        reporter.say("after")
        assert (disk / "progress.log").read_text().splitlines()[-1].endswith("after")


@pytest.fixture
def site(tmp_path):
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 7, 2, 1
    data = write_site("TUH", 10, tmp_path / "hospitals", rows=128, workers=1).parent
    with small_disk(tmp_path / "disk", 12) as disk:
        settings = {"site": "TUH", "federation": "f", "address": "a:1", "data": str(data), "code": "x"}
        (disk / "site.yaml").write_text(yaml.safe_dump(settings))
        yield disk


def ask(disk):
    """The executor's answer to a question about the site."""
    home = SiteHome(disk)
    executor = Executor(home, Activity(home.activity_file), Source("127.0.0.1:9", b"s" * 32, threading.Event()))
    message = Message(encode(DescribeTask(to_yaml(task_of(load_run("tiny"))))), 2, "query.describe")
    message.metadata.__dict__["_message_id"] = "1"
    return answer(executor, Taken(message, "7", "bundle")).content


def test_at_a_site(site):
    """Without room for its log nothing is done; the coordinator reads why; after that everything is as it was."""
    assert kind_of(ask(site)) == "SiteDescription"
    before = audit.read(site / "audit.jsonl")
    fill(site)
    refused = None
    while refused is None:  # the page that the log has already takes some more lines
        content = ask(site)
        refused = decode(content, Refusal) if kind_of(content) == "Refusal" else None
    assert (refused.error, "disk full" in refused.meaning) == ("StorageError", True)
    clear(site)
    assert decode(ask(site), SiteDescription).patients == 10
    after = audit.read(site / "audit.jsonl")  # the chain is whole
    assert after[: len(before)] == before
    assert after[-1].event == "answered"


def test_prepared_images_that_do_not_fit_are_named_and_made_once_there_is_room(site):
    fill(site)
    filler = (site / "filler").stat().st_size
    with (site / "filler").open("r+b") as stream:
        stream.truncate(filler - 128 * 1024)  # room for the log, and for an image or two
    refused = decode(ask(site), Refusal)
    assert refused.error == "StorageError"
    clear(site)
    assert decode(ask(site), SiteDescription).patients == 10
