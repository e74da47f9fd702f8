"""Child processes that are restarted when they die and never outlive their supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common import progress

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY_SECONDS = 60.0
"""A child that lived this long is restarted as if it had never died."""
MAXIMUM_LOG = 10_000_000
PARENT = "XAI_PARENT"
"""Environment variable by which a child knows its supervisor."""
GRACE_SECONDS = 10.0


@dataclass
class Child:
    """One supervised process in a process group of its own; its output goes to a log file."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    pause: float = FIRST_PAUSE
    started: float = 0.0
    due: float = 0.0
    """When it may be started (again), on the monotonic clock."""

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process; a log that has grown large is set aside once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > MAXIMUM_LOG:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, PARENT: str(os.getpid())},
                start_new_session=True,
            )
        self.started = time.monotonic()

    def keep_alive(self) -> bool:
        """Start the process when it is due, with a growing pause after each death; whether it was started."""
        if self.alive:
            return False
        now = time.monotonic()
        if self.process is not None:
            lived, code = now - self.started, self.process.returncode
            self.reap()
            self.pause = FIRST_PAUSE if lived > STEADY_SECONDS else min(self.pause * 2, LONGEST_PAUSE)
            self.due = now + self.pause
            progress.say(f"{self.name} ended with {code}; it starts again in {self.pause:.0f} s (see {self.log})")
        if now < self.due:
            return False
        self.start()
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self, grace_seconds: float) -> None:
        """Stop the process: SIGTERM, then after the grace SIGKILL to its whole group."""
        if self.process is None:
            return
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_seconds)
        self.reap()

    def reap(self) -> None:
        """Kill what is left of the process group and collect the process."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def die_with_parent() -> None:
    """End this process soon after the :class:`Child`'s supervisor is gone, however it went.

    Call it once at the start of a process; one that no supervisor started is left alone.
    """
    parent = os.environ.pop(PARENT, "")
    if not parent:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
