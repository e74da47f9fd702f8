"""What the executor is doing, for ``xai-client --site X status``: a small file, written when it changes."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

from flwr.app import RecordDict

from client.node.status import Doing
from common.atomic import write_text
from common.errors import StorageError, WireError
from common.protocol import EvaluateTask, TrainTask
from common.wire import decode, kind_of

logger = logging.getLogger("xai_federation.executor")

_DOING = {"TrainTask": "training", "EvaluateTask": "evaluating", "DescribeTask": "describing its data"}


class Activity:
    """Keeps the file up to date; remembers when the rounds of a run began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: tuple[str, int, float] | None = None
        self._write(Doing(since=time.time()))
        self.idle()

    def begin(self, run: str, content: RecordDict) -> None:
        """A request arrived."""
        what = _DOING.get(kind_of(content), "refusing a request")
        number = rounds = 0
        left = None
        try:
            if what == "training":
                order = decode(content, TrainTask)
                number, rounds, left = order.round, order.rounds, self._left(run, order.round, order.rounds)
            elif what == "evaluating":
                number = decode(content, EvaluateTask).round
        except WireError:
            what = "refusing a request"
        self._write(Doing(what, run, number, rounds, time.time(), left))

    def idle(self) -> None:
        """Nothing to do."""
        self._write(Doing("idle", since=time.time()))

    def _left(self, run: str, number: int, rounds: int) -> float | None:
        now = time.time()
        if self._first is None or self._first[0] != run or self._first[1] > number:
            self._first = (run, number, now)
        _, first, begun = self._first
        return (rounds - number + 1) * (now - begun) / (number - first) if number > first else None

    def _write(self, doing: Doing) -> None:
        try:
            write_text(self._path, json.dumps(asdict(doing)))
        except StorageError as error:  # work goes on; only the status is out of date
            logger.error("%s", error)
