"""The policy binds a real process; what does not fit is refused by a name that the coordinator sees."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from client.compute import is_out_of_memory
from client.node.limits import GIB, memory_fraction, require_gpus, visible_devices
from client.node.policy import Policy
from common.errors import ConfigurationError


@pytest.mark.parametrize(
    ("gpus", "offered", "visible"),
    [
        (None, None, None),
        (None, "1,2", None),
        ([], None, ""),
        ([], "0", ""),
        ([1], None, "1"),
        ([0, 2], None, "0,2"),
        ([1], "4,7", "7"),
        ([1, 0], "GPU-aa, GPU-bb", "GPU-bb,GPU-aa"),
    ],
)
def test_what_is_hidden_from_the_process_stays_hidden(gpus, offered, visible):
    assert visible_devices(gpus, offered) == visible


def test_a_gpu_that_is_not_there_is_refused_rather_than_replaced_by_the_cpu():
    for call in (lambda: visible_devices([2], "0,1"), lambda: require_gpus([0], 0), lambda: visible_devices([0], "")):
        with pytest.raises(ConfigurationError, match="names a GPU that is not there"):
            call()
    require_gpus([0, 1], 2)
    require_gpus(None, 0)
    require_gpus([], 0)


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has eight GPUs")
def test_without_the_gpu_of_its_policy_the_executor_does_not_begin():
    lines = in_a_process(
        BIND
        + """
from common.errors import ConfigurationError
try:
    apply(Policy(gpus=[7]))
except ConfigurationError as error:
    print(error.what)
"""
    )
    assert lines == ["policy: gpus names a GPU that is not there: of those allowed this machine offers 0"]


@pytest.mark.parametrize(
    ("limit", "total", "fraction"), [(0, 80 * GIB, 1.0), (20, 80 * GIB, 0.25), (100, 80 * GIB, 1.0), (8, 8 * GIB, 1.0)]
)
def test_the_share_of_a_gpus_memory(limit, total, fraction):
    assert memory_fraction(limit, total) == fraction


@pytest.mark.parametrize(
    "policy",
    [
        Policy(gpus=[-1]),
        Policy(gpu_memory_gb=-1),
        Policy(memory_gb=-2),
        Policy(memory_gb=0.2),
        Policy(message_mb=0),
        Policy(cores=-1),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(policy):
    with pytest.raises(ConfigurationError, match="policy: "):
        policy.check_itself("site.yaml")


def test_errors_that_mean_memory_are_told_from_others():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(OSError("Cannot allocate memory"))


def in_a_process(script, *arguments):
    """Run a script in a process of its own, that a limit may bind; returns its lines."""
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


BIND = """
from client.node.limits import apply
from client.node.policy import Policy
"""


def test_cores_and_gpus_bind_the_process():
    lines = in_a_process(
        BIND
        + """
import os, torch
apply(Policy(cores=1, gpus=[]))
print(len(os.sched_getaffinity(0)), repr(os.environ["CUDA_VISIBLE_DEVICES"]), torch.cuda.is_available())
"""
    )
    assert lines == ["1 '' False"]


def test_memory_beyond_the_policy_is_not_given_and_the_process_lives_on():
    """Arrays of NumPy and of PyTorch: an honest error each, and what fits still fits."""
    lines = in_a_process(
        BIND
        + """
import numpy, torch
from client.compute import is_out_of_memory
apply(Policy(memory_gb=3))
for make in (lambda: numpy.ones(4 * 2**30, numpy.uint8), lambda: torch.zeros(2**30), lambda: bytearray(4 * 2**30)):
    try:
        make()
    except Exception as error:
        print(is_out_of_memory(error))
print(int(torch.ones(2**20).sum()))
"""
    )
    assert lines == ["True", "True", "True", str(2**20)]


@pytest.mark.slow
def test_training_beyond_the_memory_is_a_refusal_by_name_and_the_next_request_is_answered(tmp_path):
    """The real executor with a real request: resnet18 on large images, in one batch, with 3 GiB allowed
    of which the program itself takes half. On the processor: a GPU's memory is another matter."""
    lines = in_a_process(
        """
import sys, threading, yaml
from pathlib import Path
from flwr.app import Message
from flwr.supercore.task_identity import TaskIdentity
from client.node import limits
from client.node.activity import Activity
from client.node.executor import Executor, answer
from client.node.home import SiteHome, read_settings
from client.node.taking import Source, Taken
from common.configuration import load_run, task_of, to_yaml
from common.models.classifier import build_classifier
from common.packing import pack
from common.protocol import DescribeTask, Refusal, SiteDescription, TrainTask
from common.wire import decode, encode
from simulations.phantom.dataset import write_site

folder = Path(sys.argv[1])
data = write_site("TUH", 10, folder / "hospitals", rows=128, workers=1).parent
settings = {"site": "TUH", "federation": "f", "address": "a:1", "data": str(data), "code": "x",
            "policy": {"memory_gb": 3, "gpus": []}}
(folder / "site.yaml").write_text(yaml.safe_dump(settings))
home = SiteHome(folder)
TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 7, 2, 1
limits.apply(read_settings(home).policy)
executor = Executor(home, Activity(home.activity_file), Source("127.0.0.1:9", b"s" * 32, threading.Event()))
greedy = task_of(load_run("tiny", ["model.backbone=resnet18", "imaging.height=1024", "imaging.width=768",
                                   "training.batch_size=64", "training.threads=1", "training.precision=fp32"]))
model = build_classifier(greedy.model, seed=0).state_dict()

def ask(content, asked):
    message = Message(content, 2, asked)
    message.metadata.__dict__["_message_id"] = "1"
    return answer(executor, Taken(message, "7", "bundle")).content

refused = decode(ask(encode(TrainTask(to_yaml(greedy), 1, 1, 0, "bfloat16"), pack(model)), "train"), Refusal)
print(refused.error, "|", refused.meaning)
modest = to_yaml(task_of(load_run("tiny")))
print(decode(ask(encode(DescribeTask(modest)), "query.describe"), SiteDescription).patients)
""",
        str(tmp_path),
    )
    assert lines[-2].startswith("MemoryLimitError | The work needs more memory")
    assert lines[-1] == "10"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_no_more_than_the_policy_allows():
    lines = in_a_process(
        BIND
        + """
import torch
from client.compute import is_out_of_memory
apply(Policy(gpus=[0], gpu_memory_gb=1))
print(torch.cuda.device_count())
torch.zeros(2**26, device="cuda")
try:
    torch.zeros(2**29, device="cuda")
except Exception as error:
    print(is_out_of_memory(error))
"""
    )
    assert lines == ["1", "True"]


def test_a_process_without_limits_is_left_alone():
    assert os.sched_getaffinity(0)
    lines = in_a_process(
        BIND
        + """
import os, resource
before = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA), dict(os.environ)
apply(Policy())
print(before == (os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA), dict(os.environ)))
"""
    )
    assert lines == ["True"]
