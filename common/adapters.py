"""Pydantic's validators of our message and record types, each built once a process."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")
_built: dict[Any, TypeAdapter[Any]] = {}


def adapter_of(kind: type[T]) -> TypeAdapter[T]:
    """The validator of a type. To build one takes ten milliseconds, and messages of few kinds come all the time."""
    found = _built.get(kind)
    if found is None:
        found = _built[kind] = TypeAdapter(kind)
    return found
