"""A message and its packed array in Flower's record, and out of it again: checked before anything is unpacked."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import ValidationError

from common.adapters import adapter_of
from common.errors import MessageTooLargeError, WireError
from common.protocol import AnyMessage

if TYPE_CHECKING:  # processes that only carry messages need no torch
    from common.packing import Bytes

M = TypeVar("M", bound=AnyMessage)
_RECORD, _ARRAYS, _PACKED = "message", "arrays", "packed"
MAXIMUM_TEXT = 2**20
"""Characters of a message's text; the longest, an evaluation, takes some thousands."""
_HEADER_SLACK = 1024
"""Bytes that Flower's serialisation puts before an array."""


def encode(message: AnyMessage, packed: Bytes | None = None) -> RecordDict:
    """Put a message, and a packed array if there is one, into Flower's record."""
    kind: type[AnyMessage] = type(message)
    body = adapter_of(kind).dump_json(message).decode()
    content = RecordDict({_RECORD: ConfigRecord({"kind": kind.__name__, "body": body})})
    if packed is not None:
        content[_ARRAYS] = ArrayRecord({_PACKED: Array(packed)})
    return content


def kind_of(content: RecordDict) -> str:
    """Name of the message's dataclass; empty when the record is not one of ours."""
    record = content.get(_RECORD)
    kind = record.get("kind") if isinstance(record, ConfigRecord) else None
    return kind if isinstance(kind, str) else ""


def decode(content: RecordDict, kind: type[M]) -> M:
    """Read a message of the expected kind.

    Raises:
        WireError: another kind, a missing, unknown or ill-typed field.
        MessageTooLargeError: a text that no message needs.
    """
    record = content.get(_RECORD)
    if kind_of(content) != kind.__name__ or not isinstance(record, ConfigRecord):
        raise WireError(f"expected a {kind.__name__}, got '{kind_of(content)[:40] or 'something else'}'")
    body = record.get("body", "")
    if not isinstance(body, str):
        raise WireError(f"the body of a {kind.__name__} is no text")
    if len(body) > MAXIMUM_TEXT:
        raise MessageTooLargeError(f"the text of a {kind.__name__} has {len(body)} characters, at most {MAXIMUM_TEXT}")
    try:
        return adapter_of(kind).validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WireError(f"malformed {kind.__name__}: {place}: {first['msg']}") from error


def packed_array(content: RecordDict, maximum: int) -> Bytes:
    """The packed array of a message, without copying it.

    Args:
        content: of the message.
        maximum: bytes that the array may take: the receiver knows the model (``common.packing.packed_size``).

    Raises:
        WireError: there is none, or it is not one flat array of bytes.
        MessageTooLargeError: it is larger; nothing of it was unpacked.
    """
    arrays = content.get(_ARRAYS)
    if not isinstance(arrays, ArrayRecord) or _PACKED not in arrays:
        raise WireError("the message carries no model or update")
    data = arrays[_PACKED].data
    if len(data) > maximum + _HEADER_SLACK:
        raise MessageTooLargeError(f"the array takes {len(data)} bytes, this model's at most {maximum}")
    stream = BytesIO(data[:_HEADER_SLACK])
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream) if version == (1, 0) else ((), False, None)
    except ValueError as error:
        raise WireError("the array's header is damaged") from error
    start = stream.tell()
    if dtype != np.uint8 or shape != (len(data) - start,):
        raise WireError("the array is not one flat array of bytes, whole")
    return np.frombuffer(data, dtype=np.uint8, offset=start)
