"""One of two hospitals answers with rubbish, another kind each round: quarantined by name, shown; the run goes on."""

import json

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.app import app as honest
from common.configuration import load_run, to_yaml
from common.protocol import TrainTask
from common.wire import decode, kind_of
from server.app import app as server_app
from simulations.local_grid import LocalGrid
from tests.end_to_end.hostile_answers import spoilt

app = ClientApp()
EXPECTED = {
    "a million times too large": ("UpdateTooLargeError", "is over the limit"),
    "not a number": ("UpdateNotFiniteError", "not finite"),
    "another shape": ("WireError", "has shape (3, 3)"),
    "150 MB": ("MessageTooLargeError", "bytes, this model's at most"),
    "an old round": ("StaleReplyError", "is for round 1, round 5 was asked"),
}
"""One a round; what only a wire shows is left to the deployed test."""


@app.train()
def trains(message, context):
    reply = honest(message, context)
    if context.node_config["site"] != "TUH":
        return reply
    assert kind_of(message.content) == "TrainTask"
    number = decode(message.content, TrainTask).round
    return Message(spoilt(reply.content, list(EXPECTED)[number - 1]), reply_to=message)


@app.evaluate()
def evaluates(message, context):
    return honest(message, context)


@app.query("describe")
def describes(message, context):
    return honest(message, context)


@pytest.fixture(scope="module")
def spoilt_run(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("hostile") / "run"
    out.mkdir()
    settings = ["training.threads=1", "federation.rounds=5", "federation.quorum=0.5", "sites=[MCS,TUH]"]
    (out / "config.yaml").write_text(to_yaml(load_run("tiny", settings)))
    nodes = {
        name: {"site": name, "data": str(phantom / name), "state": str(out / "sites" / name)} for name in ("MCS", "TUH")
    }
    server_app(LocalGrid(app, nodes), Context(1, 1, {}, RecordDict(), {"run-folder": str(out)}))
    return out


def test_every_round_names_what_was_wrong_and_is_made_of_the_others(spoilt_run):
    records = [json.loads(line) for line in (spoilt_run / "rounds.jsonl").read_text().splitlines()]
    for record, (error, says) in zip(records, EXPECTED.values(), strict=True):
        assert list(record["train"]) == ["MCS"]
        (found,) = record["quarantined"]
        assert (found["site"], found["error"]) == ("TUH", error)
        assert says in found["meaning"]


def test_the_report_shows_it(spoilt_run):
    report = (spoilt_run / "report.html").read_text()
    assert all(error in report for error, _ in EXPECTED.values())
    assert json.loads((spoilt_run / "summary.json").read_text())["sites"].keys() == {"MCS", "TUH"}
