"""The process of Flower's SuperNode: ends with its supervisor, and notes when it is connected."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path

from flwr.supernode import start_client_internal as loop
from flwr.supernode.cli.flower_supernode import flower_supernode

from client.node.farewell import remember, say_goodbye
from client.node.status import CONNECTED
from common.atomic import write_text
from common.processes import die_with_parent
from common.waiting import Pace, look_often

NUMBER = "number"
"""File in the state folder, beside the one that says "connected"."""
AT_THE_COORDINATOR, AT_THE_EXECUTOR = (0.1, 1.0), 0.05
"""Seconds between two looks for a message there (growing while none comes), and for an answer here."""


class Quick:
    """Stands in for the module ``time`` in Flower's loop, which only ever sleeps: 3 s when the coordinator had no
    message, 0.5 s while the executor works on one.
    """

    def __init__(self) -> None:
        self._pace = Pace(*AT_THE_COORDINATOR)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not for as long."""
        if seconds > 1:
            time.sleep(self._pace.pause())
        else:
            self._pace.restart()
            time.sleep(AT_THE_EXECUTOR)


class _NotesConnection(logging.Handler):
    """Writes the file that says "connected", and the number, when Flower logs that it was given one."""

    def __init__(self, file: Path, note: Path) -> None:
        super().__init__(logging.INFO)
        self._file, self._note = file, note

    def emit(self, record: logging.LogRecord) -> None:
        """See whether this line is the one."""
        text, _, number = record.getMessage().partition("SuperNode ID: ")
        if not text and number.isdigit():
            remember(self._note, int(number))
            write_text(self._file, "connected\n")


def main() -> None:
    """Entry point of the process; what it is given are Flower's own arguments."""
    die_with_parent()
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, kind in (("superlink", str), ("root-certificates", Path), ("auth-supernode-private-key", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    given, _ = parser.parse_known_args()
    connected = Path(os.environ[CONNECTED])
    note = connected.with_name(NUMBER)
    say_goodbye(given.superlink, given.root_certificates, given.auth_supernode_private_key, note)
    logging.getLogger("flwr").addHandler(_NotesConnection(connected, note))
    logging.getLogger("httpx").setLevel(logging.WARNING)
    vars(loop)["time"] = Quick()
    look_often()
    flower_supernode()


if __name__ == "__main__":
    main()
