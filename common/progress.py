"""Progress that any layer can report and the command line decides how to show.

Libraries call :func:`say` and :func:`track`; without a command line around them lines go to the
log and bars nowhere. The terminal's own reporter is ``common.terminal``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

logger = logging.getLogger("xai_federation")


class Reporter(Protocol):
    """Shows lines and counted work."""

    def say(self, line: str) -> None:
        """Show one finished line."""

    def start(self, description: str, total: int) -> Callable[[int], None]:
        """Begin counted work; the returned function takes how much more is done."""

    def finish(self, description: str) -> None:
        """End counted work begun with the same description."""


class LogReporter:
    """Lines to the log, no bars."""

    def say(self, line: str) -> None:
        """Log the line."""
        logger.info(line)

    def start(self, description: str, total: int) -> Callable[[int], None]:
        """Log that work begins."""
        logger.debug("%s (%d)", description, total)
        return lambda _: None

    def finish(self, description: str) -> None:
        """Log that work ended."""
        logger.debug("%s: done", description)


_reporter: ContextVar[Reporter] = ContextVar("reporter", default=LogReporter())  # noqa: B039 (stateless)


def say(line: str) -> None:
    """Show one line to whoever watches."""
    _reporter.get().say(line)


@contextmanager
def track(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Count ``total`` pieces of work; yields the function that takes how many more are done."""
    reporter = _reporter.get()
    advance = reporter.start(description, total)
    try:
        yield advance
    finally:
        reporter.finish(description)


@contextmanager
def shown_by(reporter: Reporter) -> Iterator[None]:
    """Send everything reported inside the block to ``reporter``."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)
