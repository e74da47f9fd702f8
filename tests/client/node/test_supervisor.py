"""What the node does when one of its two processes dies; the processes here only sleep."""

import json
import signal
import sys
import time

import pytest
import yaml

from client.node.home import SiteHome, read_settings
from client.node.status import Doing
from client.node.supervisor import _Node
from common.atomic import write_text


@pytest.fixture
def node(tmp_path):
    settings = {"site": "TUH", "federation": "f", "address": "127.0.0.1:9", "data": ".", "code": "x"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(settings))
    home = SiteHome(tmp_path)
    made = _Node(home, read_settings(home))
    for child in (made._supernode, made._executor):
        child.command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    made.tick()
    yield made
    made.end()


def doing(node, what):
    write_text(node._home.activity_file, json.dumps(Doing(what).__dict__))


def die(child):
    pid = child.process.pid
    child.process.send_signal(signal.SIGKILL)
    child.process.wait()
    return pid


def until_both_live(node):
    end = time.monotonic() + 60
    while not (node._supernode.alive and node._executor.alive):
        assert time.monotonic() < end
        node.tick()
        time.sleep(0.05)


def test_both_are_started(node):
    assert node._supernode.alive
    assert node._executor.alive


@pytest.mark.parametrize(("what", "anew"), [("training", True), ("evaluating", True), ("idle", False)])
def test_an_executor_that_dies_at_its_work_takes_the_supernode_with_it_and_an_idle_one_does_not(node, what, anew):
    doing(node, what)
    supernode = node._supernode.process.pid
    die(node._executor)
    until_both_live(node)
    assert (node._supernode.process.pid != supernode) == anew


def test_a_supernode_that_dies_takes_the_executor_with_it(node):
    executor = node._executor.process.pid
    die(node._supernode)
    until_both_live(node)
    assert node._executor.process.pid != executor
