"""An update out of line with the others is quarantined: in every round, whoever answers first, resumed or not."""

import itertools
import json
import statistics

import pytest
import torch
from flwr.app import Message
from flwr.clientapp import ClientApp

from common.configuration import FederationConfig, RunConfig
from common.packing import pack
from common.protocol import Estimate, EvaluateTask, EvaluationReport, TrainReport, TrainTask
from common.wire import decode, encode
from server.checkpoint import load, path_of
from server.history import RoundRecord, SiteTraining, read_history
from server.norms import UpdateOutOfLineError, Yardstick, yardstick
from server.rounds import Federation, run_rounds
from simulations.local_grid import LocalGrid

app = ClientApp()
SENT: dict[tuple[str, int], float] = {}
"""What a site's update holds in a round where it is not 1."""


@app.train()
def adds_what_is_sent(message, context):
    site, number = context.node_config["site"], decode(message.content, TrainTask).round
    update = {"w": torch.full((4,), SENT.get((site, number), 1.0))}
    return Message(encode(TrainReport(10, 10, 3, 1, 0.5, 0.0, number), pack(update)), reply_to=message)


@app.evaluate()
def measures_nothing(message, context):
    number = decode(message.content, EvaluateTask).round
    return Message(encode(EvaluationReport(4, 4, 8, 2, 0.5, Estimate(0.75), round=number)), reply_to=message)


@pytest.fixture(autouse=True)
def nothing_sent_yet():
    SENT.clear()


def train(folder, sites=("A", "B", "C"), rounds=2, asked=None, **limits):
    """Run rounds; sites are asked, and so answer, in the order of ``asked``."""
    grid = LocalGrid(app, {name: {"site": name} for name in asked or sites})
    federation = FederationConfig(rounds=rounds, quorum=0.5, wire_dtype="float32", maximum_update_norm=1e12, **limits)
    config = RunConfig(sites=list(sites), federation=federation)
    records = run_rounds(Federation(grid, config, folder, frozenset({"w"})), {"w": torch.zeros(4)})
    return records, load(path_of(folder, rounds), config).model["w"].tolist()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_million_times_too_large_is_quarantined_in_any_round_and_the_run_goes_on(tmp_path, number):
    """The norm of an update of four ones is 2: a million times that is not used, so every round adds one."""
    SENT["B", number] = 1e6
    records, model = train(tmp_path, rounds=3)
    assert [[item.site for item in record.quarantined] for record in records] == [
        ["B"] if record.round == number else [] for record in records
    ]
    (found,) = records[number - 1].quarantined
    assert found.error == "UpdateOutOfLineError"
    assert "update norm 2e+06 is 1e+06 times the median of" in found.meaning
    assert "at most 30 times" in found.meaning
    assert sorted(records[number - 1].train) == ["A", "C"]
    assert model == [3.0] * 4
    assert not (tmp_path / "waiting").exists()
    line = json.loads((tmp_path / "rounds.jsonl").read_text().splitlines()[number - 1])
    assert line["quarantined"][0]["error"] == "UpdateOutOfLineError"


@pytest.mark.parametrize("number", [1, 2])
def test_the_decision_and_the_bits_do_not_depend_on_who_answers_first(tmp_path, number):
    SENT.update({("A", 1): 0.1, ("B", 1): 0.7, ("C", number): 1e5, ("D", 2): 1 / 3})
    seen = set()
    for index, asked in enumerate(itertools.islice(itertools.permutations("ABCD"), 0, None, 3)):
        records, model = train(tmp_path / str(index), tuple("ABCD"), 2, asked)
        assert [[item.site for item in record.quarantined] for record in records][number - 1] == ["C"]
        seen.add((tuple(model), tuple(tuple(record.train) for record in records)))
    assert len(seen) == 1


def test_a_resumed_run_decides_the_same(tmp_path):
    SENT["C", 3] = 40.0
    whole, model = train(tmp_path / "whole", rounds=3)
    assert [item.site for item in whole[2].quarantined] == ["C"]

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("server.checkpoint.prune", lambda folder, keep, best: stop() if keep else None)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "part", rounds=3)
    assert len(read_history(tmp_path / "part" / "rounds.jsonl")) == 1
    resumed, again = train(tmp_path / "part", rounds=3)
    assert resumed[2].quarantined == whole[2].quarantined
    assert again == model


def test_two_sites_cannot_be_judged_by_each_other_but_by_what_both_sent_before(tmp_path):
    SENT.update({("B", 1): 1e4, ("B", 3): 1e6})
    records, _ = train(tmp_path, ("A", "B"), 3)
    assert [[item.site for item in record.quarantined] for record in records] == [[], [], ["B"]]


def test_the_ratio_is_a_setting(tmp_path):
    SENT["C", 1] = 40.0
    assert train(tmp_path / "strict")[0][0].quarantined
    assert not train(tmp_path / "lax", maximum_norm_ratio=50.0)[0][0].quarantined


def history(*rounds):
    def site(norm):
        return SiteTraining(10, 10, 3, 1, 0.5, 0.0, norm, 0.5)

    return [
        RoundRecord(number, train={str(index): site(norm) for index, norm in enumerate(norms)})
        for number, norms in enumerate(rounds, 1)
    ]


def test_the_median_is_that_of_the_last_five_rounds():
    measure = yardstick(history([1000.0] * 3, *[[1.0, 2.0, 9.0]] * 5), 10.0)
    assert len(measure.earlier) == 15
    middle = statistics.median([1.0, 2.0, 9.0])
    measure.check(10 * middle)
    with pytest.raises(UpdateOutOfLineError, match="median of 15 norms"):
        measure.check(10 * middle + 1e-6)


def test_few_norms_and_a_median_of_zero_judge_nobody():
    Yardstick((1.0, 1.0), 1.0).check(1e9)
    Yardstick((0.0, 0.0, 1.0), 1.0).check(1e9)
    with pytest.raises(UpdateOutOfLineError):
        Yardstick((1.0, 1.0), 1.0).check(1e9, [1.0, 1e9])


def test_a_small_update_is_not_out_of_line():
    Yardstick((1.0, 1.0, 1.0), 2.0).check(0.0)
