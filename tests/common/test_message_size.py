"""What is too large is refused by its announcement or its parts; nothing of 2 GiB is ever in memory."""

import json
import tracemalloc

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from common.errors import MessageTooLargeError
from common.message_size import fetch, objects_of, put_together

MIB = 2**20


@pytest.fixture(autouse=True)
def somebody():
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 2, 3


def sent(array, times=1):
    """A message as it travels: the announced tree, and its objects by identifier.

    ``times``: the array names its chunks so many times over, as noughts are sent.
    """
    content = RecordDict({"message": ConfigRecord({"body": "x" * 100}), "arrays": ArrayRecord({"packed": array})})
    if times > 1:
        inner = content["arrays"]["packed"]
        inner.__dict__["_chunks"] = inner.slice_array() * times
    message = Message(content, 2, "train")
    objects = {name: item.deflate() for name, item in get_all_nested_objects(message).items()}
    return get_object_tree(message), objects


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 12 * MIB + 17])
def test_a_message_of_the_expected_size_comes_through(size):
    array = Array(np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8))
    tree, objects = sent(array)
    contents = fetch(tree, objects.__getitem__, size + 1024)
    message = inflate_object_from_contents(tree.object_id, contents)
    assert message.content["arrays"]["packed"].data == array.data


def test_too_many_objects_are_refused_before_the_first_is_fetched():
    tree = ObjectTree(object_id="0", children=[ObjectTree(object_id=str(number)) for number in range(500)])
    asked = []
    with pytest.raises(MessageTooLargeError, match="objects are announced"):
        fetch(tree, asked.append, 45 * MIB)
    assert asked == []


def test_a_tree_that_is_too_deep_is_refused():
    tree = ObjectTree(object_id="leaf")
    for _ in range(50):
        tree = ObjectTree(object_id="x", children=[tree])
    with pytest.raises(MessageTooLargeError, match="nested"):
        objects_of(tree, MIB)


def test_fetching_stops_when_too_much_has_come():
    tree, objects = sent(Array(np.random.default_rng(0).integers(0, 255, 40 * MIB, dtype=np.uint8)))
    fetched = []

    def pull(identifier):
        fetched.append(identifier)
        return objects[identifier]

    with pytest.raises(MessageTooLargeError, match="bytes came"):
        fetch(tree, pull, 6 * MIB)
    assert sum(len(objects[identifier]) for identifier in fetched) < 40 * MIB


def test_two_gibibytes_that_travel_as_five_mebibytes_are_refused_without_being_put_together():
    tree, objects = sent(Array("uint8", (5 * MIB,), "numpy.ndarray", bytes(5 * MIB)), times=410)
    assert sum(map(len, objects.values())) < 6 * MIB
    assert put_together(objects) > 2 * 1024 * MIB
    tracemalloc.start()
    with pytest.raises(MessageTooLargeError, match=r"would take 21\d{8} bytes"):
        fetch(tree, objects.__getitem__, 5 * MIB)
    assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    tracemalloc.stop()


@pytest.mark.parametrize(
    "head",
    [b"Array  9\0", b"Array x,y 5\0nonsense", b"nothing", b"Array  4\0" + json.dumps({"arraychunk_ids": [7]}).encode()],
)
def test_a_head_that_does_not_tell_its_size_is_refused(head):
    with pytest.raises(MessageTooLargeError, match="size is not known"):
        put_together({get_object_id(head): head})
