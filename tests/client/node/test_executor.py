"""The executor's answer to one request: on real phantom data, with the audit log, and when the site is not in order."""

import contextlib
import shutil
import threading

import httpx
import numpy as np
import pytest
import yaml
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.runtime_pb2 import AcquireTaskResponse
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.task_identity import TaskIdentity

from client.node import executor as module
from client.node.activity import Activity
from client.node.executor import Executor, answer
from client.node.home import SiteHome
from client.node.status import read_activity
from client.node.taking import Source, Taken
from common.audit import read
from common.configuration import load_run, task_of, to_yaml
from common.errors import MessageTooLargeError
from common.protocol import DescribeTask, Refusal, SiteDescription, TrainTask
from common.wire import decode, encode, kind_of
from simulations.phantom.dataset import write_site

TASK = to_yaml(task_of(load_run("tiny")))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_site("TUH", 10, tmp_path_factory.mktemp("hospitals"), rows=128, workers=1).parent


@pytest.fixture
def executor(tmp_path, archive):
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 7, 2, 1
    settings = {"site": "TUH", "federation": "f", "address": "a:1", "data": str(archive), "code": "x"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(settings))
    home = SiteHome(tmp_path)
    return Executor(home, Activity(home.activity_file), Source("127.0.0.1:9", b"s" * 32, threading.Event()))


def question(content, asked="query.describe"):
    message = Message(content, 2, asked)
    message.metadata.__dict__["_message_id"] = "1"
    return Taken(message, "7", "bundle")


DESCRIBE = encode(DescribeTask(TASK))


def refusal_of(reply):
    return decode(reply.content, Refusal)


def test_an_allowed_request_is_answered_and_both_are_logged(executor):
    description = decode(answer(executor, question(DESCRIBE)).content, SiteDescription)
    assert description.patients == 10
    asked, answered = read(executor.home.audit)
    assert (asked.event, asked.details["kind"], asked.details["bundle"]) == ("asked", "DescribeTask", "bundle")
    assert (answered.event, answered.details["kind"], answered.details["to"]) == ("answered", "SiteDescription", 1)
    assert read_activity(executor.home.activity_file).what == "describing its data"


def test_without_its_log_nothing_is_done(executor, monkeypatch):
    """The log's place is taken by a folder, as when the disk is full: the ClientApp must not even be called."""
    executor.home.audit.mkdir()
    monkeypatch.setattr(module, "app", None)
    assert refusal_of(answer(executor, question(DESCRIBE))).error == "StorageError"


def test_a_refusal_that_cannot_be_logged_is_answered_and_the_gap_is_told(executor, monkeypatch, caplog):
    """The disk fills up between question and answer: the node's own log says what the audit log lacks."""

    def full_while_working(_message, _context):
        executor.home.audit.rename(executor.home.audit.with_suffix(".moved"))
        executor.home.audit.mkdir()
        raise MessageTooLargeError("2 GiB")

    monkeypatch.setattr(module, "app", full_while_working)
    assert refusal_of(answer(executor, question(DESCRIBE))).error == "MessageTooLargeError"
    assert [entry.event for entry in read(executor.home.audit.with_suffix(".moved"))] == ["asked"]
    (told,) = [record for record in caplog.records if "audit log" in record.getMessage()]
    assert told.levelname == "ERROR"
    said = told.getMessage()
    assert "query.describe (MessageTooLargeError)" in said and str(executor.home.audit) in said


def test_a_changed_policy_holds_from_the_next_request_on(executor):
    file = executor.home.settings_file
    answer(executor, question(DESCRIBE))
    file.write_text(file.read_text() + "policy: {minimum_patients: 11}\n")
    refused = refusal_of(answer(executor, question(DESCRIBE)))
    assert (refused.error, "minimum_patients" in refused.meaning) == ("PolicyRefusalError", True)
    assert [entry.event for entry in read(executor.home.audit)][-2:] == ["asked", "refused"]


@pytest.mark.parametrize("text", ["", "policy: [", "site: TUH\n"])
def test_a_damaged_site_yaml_refuses_everything(executor, text):
    executor.home.settings_file.write_text(text)
    assert refusal_of(answer(executor, question(DESCRIBE))).error == "ConfigurationError"


def test_data_that_went_away_are_a_named_refusal_without_the_path(executor, archive, tmp_path):
    moved = tmp_path / "moved"
    settings = yaml.safe_load(executor.home.settings_file.read_text()) | {"data": str(moved)}
    executor.home.settings_file.write_text(yaml.safe_dump(settings))
    refused = refusal_of(answer(executor, question(DESCRIBE)))
    assert refused.error == "ManifestError"
    assert str(moved) not in refused.meaning
    shutil.copytree(archive, moved)
    assert kind_of(answer(executor, question(DESCRIBE)).content) == "SiteDescription"


def test_a_model_larger_than_its_task_allows_is_refused_before_it_is_unpacked(executor):
    order = TrainTask(TASK, 1, 1, 0, "bfloat16")
    content = encode(order, np.zeros(50_000_000, np.uint8))
    assert refusal_of(answer(executor, question(content, "train"))).error == "MessageTooLargeError"
    answered = read(executor.home.audit)[-1]
    assert (answered.event, answered.details["kind"]) == ("answered", "Refusal")


def test_a_request_that_was_not_even_fetched_is_logged_and_refused_by_name(executor):
    taken = question(RecordDict())
    taken = Taken(taken.message, taken.run, taken.bundle, MessageTooLargeError("2 GiB are announced"))
    assert refusal_of(answer(executor, taken)).error == "MessageTooLargeError"
    assert [entry.event for entry in read(executor.home.audit)] == ["asked", "refused"]


RUBBISH = {
    "nothing": (RecordDict(), "query.describe"),
    "damaged": (RecordDict({"message": ConfigRecord({"kind": "DescribeTask", "body": "{"})}), "query.describe"),
    "describe as train": (DESCRIBE, "train"),
    "reads the environment": (encode(DescribeTask("${oc.env:HOME}: 1")), "query.describe"),
    "unknown task": (encode(DescribeTask("task: shell")), "query.describe"),
}


@pytest.mark.parametrize("case", RUBBISH)
def test_rubbish_is_refused_by_name(executor, case):
    assert refusal_of(answer(executor, question(*RUBBISH[case]))).error in (
        "PolicyRefusalError",
        "WireError",
        "ConfigurationError",
    )


def test_a_crash_of_the_program_tells_nothing_outside(executor, monkeypatch):
    def crash(_message, _context):
        raise ZeroDivisionError("patient Suzuki")

    monkeypatch.setattr(module, "app", crash)
    refused = refusal_of(answer(executor, question(DESCRIBE)))
    assert refused.error == "InternalError"
    assert "Suzuki" not in refused.meaning


class Handover:
    """What the SuperNode does with one request: hand it over or not, take the answer or not."""

    def __init__(self, takes=True, gives=True):
        self.takes, self.gives, self.given, self.refused = takes, gives, [], []

    def __call__(self, source, token):
        return self

    @contextlib.contextmanager
    def alive(self):
        yield

    def take(self, maximum):
        if not self.gives:
            raise ObjectPullError("id", "the request was withdrawn")
        return question(DESCRIBE)

    def give(self, reply):
        if not self.takes:
            raise httpx.ReadTimeout("no answer")
        self.given.append(kind_of(reply.content))

    def refuse(self, why):
        self.refused.append(why)


FOUND = AcquireTaskResponse(token="t")


def test_a_request_that_was_withdrawn_is_left_and_the_next_one_answered(executor, monkeypatch):
    handovers = [Handover(gives=False), Handover()]
    for handover in handovers:
        monkeypatch.setattr(module, "Handover", handover)
        module._work(executor, FOUND)
    assert (handovers[0].given, handovers[0].refused) == ([], ["lost"])
    assert (handovers[1].given, handovers[1].refused) == (["SiteDescription"], [])


def test_an_answer_that_cannot_be_handed_over_ends_the_process_at_its_work(executor, monkeypatch):
    """The SuperNode would wait for it for ever; the supervisor sees a process that died at its work and starts both."""
    monkeypatch.setattr(module, "Handover", Handover(takes=False))
    with pytest.raises(SystemExit, match="could not be handed over"):
        module._work(executor, FOUND)
    assert read_activity(executor.home.activity_file).what == "describing its data"
