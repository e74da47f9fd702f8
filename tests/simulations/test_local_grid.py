"""The in-process Grid behaves as Flower's own towards ServerApp and ClientApp."""

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from common.errors import QuorumError, WireError
from server.exchange import exchange, required, wait_for_quorum
from simulations.local_grid import LocalGrid

app = ClientApp()


@app.query("site")
def say_site(message, context):
    if context.node_config["site"] == "BROKEN":
        raise RuntimeError("out of memory")
    return Message(RecordDict({"r": ConfigRecord({"site": context.node_config["site"]})}), reply_to=message)


def grid_of(*names):
    return LocalGrid(app, {name: {"site": name} for name in names})


def ask(grid, nodes):
    return dict(exchange(grid, nodes, lambda _: RecordDict(), "query.site", "1", 5.0))


def test_every_site_answers_for_itself():
    grid = grid_of("MCS", "TUH", "RAW")
    answers = ask(grid, wait_for_quorum(grid, ["TUH", "MCS", "RAW"], 1.0, 1.0, 1.0))
    assert {name: reply["r"]["site"] for name, reply in answers.items()} == {n: n for n in ("MCS", "TUH", "RAW")}


def test_a_site_whose_program_fails_does_not_harm_the_others():
    grid = grid_of("MCS", "BROKEN", "TUH")
    answers = ask(grid, wait_for_quorum(grid, ["MCS", "BROKEN", "TUH"], 1.0, 1.0, 1.0))
    assert isinstance(answers["BROKEN"], WireError)
    assert answers["TUH"]["r"]["site"] == "TUH"


def test_replies_come_one_at_a_time():
    grid = grid_of("MCS", "TUH")
    ids = list(grid.push_messages([Message(RecordDict(), node, "query.site") for node in grid.get_node_ids()]))
    assert len(list(grid.pull_messages(ids))) == 1
    assert len(list(grid.pull_messages(ids))) == 1
    assert list(grid.pull_messages(ids)) == []


def test_send_and_receive_gives_all_replies():
    grid = grid_of("MCS", "TUH")
    replies = list(grid.send_and_receive([Message(RecordDict(), node, "query.site") for node in grid.get_node_ids()]))
    assert [reply.content["r"]["site"] for reply in replies] == ["MCS", "TUH"]


def test_a_missing_site_is_waited_for_then_left_behind_or_named():
    grid = grid_of("MCS", "TUH")
    assert list(wait_for_quorum(grid, ["MCS", "GONE"], 0.5, 0.3, 30.0)) == ["MCS"]
    with pytest.raises(QuorumError, match="missing: GONE"):
        wait_for_quorum(grid, ["MCS", "GONE"], 1.0, 0.1, 0.3)


@pytest.mark.parametrize(
    ("quorum", "sites", "needed"), [(0.5, 4, 2), (0.5, 3, 2), (1.0, 4, 4), (0.0, 4, 1), (0.75, 4, 3)]
)
def test_quorum_in_sites(quorum, sites, needed):
    assert required(quorum, sites) == needed
