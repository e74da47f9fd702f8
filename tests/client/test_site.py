"""A site takes part in a run only if it prepares images as the run does."""

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client.app import app
from client.site import require_version
from common.configuration import PREPROCESSING_VERSION, ImagingConfig, TaskConfig, to_yaml
from common.errors import PreprocessingVersionError
from common.protocol import DescribeTask, Refusal
from common.wire import decode, encode


def test_the_versions_are_compared():
    require_version(TaskConfig())
    with pytest.raises(PreprocessingVersionError, match=f"version {PREPROCESSING_VERSION + 1}, this site by"):
        require_version(TaskConfig(imaging=ImagingConfig(version=PREPROCESSING_VERSION + 1)))


def test_the_coordinator_sees_the_refusal_by_name(tmp_path):
    task = TaskConfig(imaging=ImagingConfig(version=PREPROCESSING_VERSION + 1))
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    message = Message(encode(DescribeTask(to_yaml(task))), 2, "query.describe", group_id="0")
    message.metadata.__dict__["_message_id"] = "1"
    node = {"site": "TUH", "data": str(tmp_path), "state": str(tmp_path / "state")}
    reply = app(message, Context(1, 2, node, RecordDict(), {}))
    assert decode(reply.content, Refusal).error == "PreprocessingVersionError"
    assert not (tmp_path / "state").exists()
