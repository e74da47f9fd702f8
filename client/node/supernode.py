"""The process of Flower's SuperNode: ends with its supervisor, and notes when it is connected."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from flwr.supernode.cli.flower_supernode import flower_supernode

from client.node.home import SiteHome, SiteSettings
from common.atomic import write_text
from common.processes import die_with

PARENT, CONNECTED = "XAI_NODE_PARENT", "XAI_NODE_CONNECTED"


class _NotesConnection(logging.Handler):
    """Writes the file that says "connected" when Flower logs that it was given its number."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.INFO)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """See whether this line is the one."""
        if record.getMessage().startswith("SuperNode ID:"):
            write_text(self._file, "connected\n")


def command(home: SiteHome, settings: SiteSettings, port: int) -> list[str]:
    """How the supervisor starts this process."""
    return [
        *(sys.executable, "-P", "-m", "client.node.supernode"),
        *("--superlink", settings.address),
        *("--root-certificates", str(home.authority)),
        *("--auth-supernode-private-key", str(home.key)),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(home.executor_secret)),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
    ]


def environment(home: SiteHome, connected: Path) -> dict[str, str]:
    """Environment of this process."""
    return {"FLWR_HOME": str(home.flower), PARENT: str(os.getpid()), CONNECTED: str(connected)}


def main() -> None:
    """Entry point of the process."""
    die_with(int(os.environ[PARENT]))
    logging.getLogger("flwr").addHandler(_NotesConnection(Path(os.environ[CONNECTED])))
    logging.getLogger("httpx").setLevel(logging.WARNING)
    flower_supernode()


if __name__ == "__main__":
    main()
