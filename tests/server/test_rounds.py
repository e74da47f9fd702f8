"""The round loop with sites that are late, bad or few; the sites' arithmetic is done by hand."""

import pytest
import torch
from flwr.app import Message
from flwr.clientapp import ClientApp

from common.configuration import FederationConfig, MethodConfig, RunConfig
from common.errors import QuorumError
from common.packing import pack
from common.protocol import Estimate, EvaluateTask, EvaluationReport, TrainReport, TrainTask
from common.wire import decode, encode
from server.checkpoint import load, path_of, saved_rounds
from server.rounds import Federation, run_rounds
from simulations.local_grid import LocalGrid

PATIENTS = {"MCS": 30, "TUH": 10, "SLOW": 1000}
UPDATE = {"MCS": 1.0, "TUH": 5.0, "SLOW": 64.0}

app = ClientApp()


@app.train()
def adds_a_constant(message, context):
    site = context.node_config["site"]
    number = decode(message.content, TrainTask).round
    report = TrainReport(PATIENTS[site], PATIENTS[site], 3, 1, 0.5, 0.0, number)
    return Message(encode(report, pack({"w": torch.full((2,), UPDATE[site])})), reply_to=message)


@app.evaluate()
def measures_nothing(message, context):
    number = decode(message.content, EvaluateTask).round
    return Message(encode(EvaluationReport(4, 4, 8, 2, 0.5, Estimate(0.75), round=number)), reply_to=message)


class LateGrid(LocalGrid):
    """A federation in which the training of SLOW takes longer than any deadline."""

    def push_messages(self, messages):
        slow = {node.node_id for node in self.get_nodes() if node.name == "SLOW"}
        sent = list(messages)
        ids = list(super().push_messages(sent))
        for identifier, message in zip(ids, sent, strict=True):
            if message.metadata.dst_node_id in slow and message.metadata.message_type == "train":
                self._waiting.pop(identifier)
        return ids


def federation(folder, quorum):
    grid = LateGrid(app, {name: {"site": name} for name in PATIENTS})
    limits = FederationConfig(rounds=2, quorum=quorum, deadline_seconds=1, wire_dtype="float32")
    return Federation(grid, RunConfig(sites=list(PATIENTS), federation=limits), folder, frozenset({"w"}))


def test_a_late_site_misses_the_round_and_is_named(tmp_path, caplog):
    """Weighted mean of the two that answered: (30 * 1 + 10 * 5) / 40 = 2 a round."""
    caplog.set_level("INFO")
    records = run_rounds(federation(tmp_path, 0.5), {"w": torch.zeros(2)})
    assert [record.missing for record in records] == [["SLOW"], ["SLOW"]]
    assert {name: site.weight for name, site in records[-1].train.items()} == {"MCS": 0.75, "TUH": 0.25}
    assert list(records[-1].validation) == list(PATIENTS)
    assert "no reply in time: SLOW" in caplog.text
    saved = load(path_of(tmp_path, 2), federation(tmp_path, 0.5).config)
    assert saved.model["w"].tolist() == [4.0, 4.0]


def test_without_a_quorum_the_run_stops_and_names_who_is_missing(tmp_path):
    with pytest.raises(QuorumError, match="2 good replies of 3 sites, 3 are needed") as stopped:
        run_rounds(federation(tmp_path, 1.0), {"w": torch.zeros(2)})
    assert "SLOW: no answer" in str(stopped.value)
    assert saved_rounds(tmp_path) == []


def test_noise_at_the_server_covers_what_one_site_can_move(tmp_path):
    """Updates (1, 1) and (5, 5) are clipped to a norm of 1, and SLOW's zeros count: 2 / (3 root 2) in each place."""
    run = federation(tmp_path, 0.5)
    run.config.federation.rounds = 1
    run.config.method = MethodConfig(site_weights="equal", central_clip_norm=1.0, central_noise_multiplier=3.0)
    run.normal = lambda count: torch.ones(count, dtype=torch.float64)
    (record,) = run_rounds(run, {"w": torch.zeros(2)})
    assert {name: site.weight for name, site in record.train.items()} == {"MCS": 0.5, "TUH": 0.5}
    expected = (2 / 2**0.5 + 3.0) / 3
    assert load(path_of(tmp_path, 1), run.config).model["w"].tolist() == pytest.approx([expected] * 2)
