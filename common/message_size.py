"""Refuses a message that is too large by what it announces and by its parts, before it is put together.

Flower sends a message as objects: texts, and arrays cut into chunks of 5 MiB. The list of objects
comes first. An array names each of its chunks as often as it holds it, so 5 MiB of noughts on the
wire may stand for 2 GiB of array: what counts is the sum over the names.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping

from flwr.app import Array
from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_head_values_from_object_content,
)
from flwr.supercore.inflatable.inflatable_utils import pull_objects

from common.errors import MessageTooLargeError
from common.waiting import FIRST_PAUSE, LONGEST_PAUSE

SPARE_OBJECTS, SPARE_BYTES = 16, 2**21
"""What a message holds besides its array: records, heads and texts."""
MAXIMUM_DEPTH = 8
"""Message, records, record of arrays, array, chunk: no message of ours is deeper."""


def objects_of(tree: ObjectTree, maximum: int) -> list[str]:
    """Identifiers of the objects that a message announces, if they may be fetched.

    Args:
        tree: what was announced.
        maximum: bytes that the message's array may take.

    Raises:
        MessageTooLargeError: more objects than a message of that size is cut into.
    """
    most = -(-maximum // FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE) + SPARE_OBJECTS
    found: list[str] = []
    for identifier in _walk(tree, MAXIMUM_DEPTH):
        found.append(identifier)
        if len(found) > most:
            raise MessageTooLargeError(
                f"more than {most} objects are announced, of at most {FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE} bytes each; "
                f"at most {maximum} bytes are expected"
            )
    return found


def _walk(tree: ObjectTree, depth: int) -> Iterator[str]:
    if not depth:
        raise MessageTooLargeError("the announced objects are nested more deeply than those of a message")
    for child in tree.children:
        yield from _walk(child, depth - 1)
    yield tree.object_id


def fetch(tree: ObjectTree, pull: Callable[[str], bytes], maximum: int) -> dict[str, bytes]:
    """Fetch the objects of a message, none after the limit was passed; ready to be put together.

    Args:
        tree: what was announced.
        pull: fetches one object; may be called from several threads.
        maximum: bytes that the message's array may take.

    Raises:
        MessageTooLargeError: too much is announced, was fetched, or would come of it.
        ObjectPullError: an object never came.
    """
    taken, lock = 0, threading.Lock()

    def counted(identifier: str) -> bytes:
        nonlocal taken
        content = pull(identifier)
        with lock:
            taken += len(content)
            if taken > maximum + SPARE_BYTES:
                raise MessageTooLargeError(f"over {maximum + SPARE_BYTES} bytes came, at most {maximum} are expected")
        return content

    contents = pull_objects(objects_of(tree, maximum), counted, initial_backoff=FIRST_PAUSE, backoff_cap=LONGEST_PAUSE)
    whole = put_together(contents)
    if whole > maximum + SPARE_BYTES:
        raise MessageTooLargeError(f"the arrays would take {whole} bytes, at most {maximum} are expected")
    return contents


def put_together(contents: Mapping[str, bytes]) -> int:
    """Bytes that the arrays among ``contents`` take once their chunks are joined.

    Raises:
        MessageTooLargeError: an array's head cannot be understood, so its size is not known.
    """
    total = 0
    for content in contents.values():
        try:
            kind, children, _ = get_object_head_values_from_object_content(content)
            if kind == Array.__qualname__:
                named = json.loads(get_object_body(content, Array))["arraychunk_ids"]
                total += sum(len(contents[children[index]]) for index in named)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise MessageTooLargeError("an object's head is damaged: its size is not known") from error
    return total
