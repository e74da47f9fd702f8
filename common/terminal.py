"""Shows progress on a terminal: bars with time left, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_INTERVAL_SECONDS = 20.0


class TerminalReporter:
    """Progress bars with time left; lines are printed above them."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TerminalReporter:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(line, highlight=False, markup=False)

    def start(self, description: str, total: int) -> Callable[[int], None]:
        """Add a bar."""
        task = self._bars.add_task(description, total=total)
        self._tasks[description] = task
        return lambda more: self._bars.advance(task, more)

    def finish(self, description: str) -> None:
        """Remove the bar."""
        self._bars.remove_task(self._tasks.pop(description))


class PlainReporter:
    """Lines only; long counted work says now and then how far it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> PlainReporter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print the line."""
        print(line, file=self._stream, flush=True)

    def start(self, description: str, total: int) -> Callable[[int], None]:
        """Begin counting; prints at most every 20 seconds."""
        begun = shown = time.monotonic()
        done = first = 0

        def advance(more: int) -> None:
            nonlocal done, shown, first
            first = first or more
            done += more
            now = time.monotonic()
            if now - shown >= PLAIN_INTERVAL_SECONDS and done < total:
                left = (now - begun) / max(1, done - first) * (total - done)
                self.say(f"{description} {done}/{total}, about {_duration(left)} left")
                shown = now

        return advance

    def finish(self, description: str) -> None:
        """Nothing to remove."""


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def reporter(aside: bool = False) -> TerminalReporter | PlainReporter:
    """Bars on a terminal, plain lines otherwise; ``aside`` on standard error, so that output is the result alone."""
    console = Console(stderr=aside)
    return TerminalReporter(console) if console.is_terminal else PlainReporter(sys.stderr if aside else sys.stdout)
