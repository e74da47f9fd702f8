"""The process of Flower's SuperNode: ends with its supervisor, and notes when it is connected."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from flwr.supernode import start_client_internal as loop
from flwr.supernode.cli.flower_supernode import flower_supernode

from client.node.status import CONNECTED
from common.atomic import write_text
from common.processes import die_with_parent
from common.waiting import look_often

LOOK_SECONDS = 0.5
"""How often the coordinator is asked for work; Flower's 3 s would be the larger part of a small round."""


class _Quick:
    """Stands in for the module ``time`` in Flower's loop, which only ever sleeps."""

    @staticmethod
    def sleep(seconds: float) -> None:
        """Sleep, but not for long."""
        time.sleep(min(seconds, LOOK_SECONDS))


class _NotesConnection(logging.Handler):
    """Writes the file that says "connected" when Flower logs that it was given its number."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.INFO)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """See whether this line is the one."""
        if record.getMessage().startswith("SuperNode ID:"):
            write_text(self._file, "connected\n")


def main() -> None:
    """Entry point of the process."""
    die_with_parent()
    logging.getLogger("flwr").addHandler(_NotesConnection(Path(os.environ[CONNECTED])))
    logging.getLogger("httpx").setLevel(logging.WARNING)
    vars(loop)["time"] = _Quick()
    look_often()
    flower_supernode()


if __name__ == "__main__":
    main()
