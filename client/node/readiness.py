"""May the node start on this data? What the last examination found, and which findings the site has accepted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass

from pydantic import ValidationError

from client.node.home import SiteHome
from common import audit, errors, progress
from common.adapters import adapter_of
from common.atomic import write_text
from common.errors import PreflightError, XaiFederationError
from common.processes import PARENT

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Readiness:
    """What an examination found."""

    state: str
    """Digest of what was examined (``client.node.examining.state_of``)."""
    lines: list[str]
    """For the terminal: counts, errors and warnings, without names of files."""
    stopping: dict[str, int]
    """Findings that stop training: code, and how many things it is about."""
    report: str


def read_readiness(home: SiteHome) -> Readiness | None:
    """What the last examination found; ``None`` before the first, or when the file is damaged."""
    try:
        return adapter_of(Readiness).validate_json(home.readiness_file.read_bytes())
    except (OSError, ValidationError):
        return None


def accepted_findings(home: SiteHome) -> dict[str, int]:
    """Findings that a person at the site has accepted: code, and how many of it at the most."""
    try:
        return adapter_of(dict[str, int]).validate_json(home.accepted_file.read_bytes())
    except (OSError, ValidationError):
        return {}


def make_ready(home: SiteHome, site: str, stopping: threading.Event, *, accept: bool) -> bool:
    """Look at the data, say what was found, and settle whether the node may start.

    Args:
        home: the site's state folder.
        site: its name.
        stopping: ends the examination.
        accept: accept the findings that stop training, from now on, as far as they go today.

    Returns:
        Whether it may; not when it was asked to stop.

    Raises:
        PreflightError: findings that stop training and were not accepted.
        XaiFederationError: the examination could not be made, by name.
    """
    if not _examined(home, stopping):
        return False
    found = read_readiness(home)
    if found is None:
        raise PreflightError("what the examination found cannot be read", where=str(home.readiness_file))
    for line in found.lines:
        progress.say(line)
    if accept and found.stopping:
        write_text(home.accepted_file, json.dumps(found.stopping, indent=1))
        audit.append(home.audit, "findings accepted", **found.stopping)
    accepted = accepted_findings(home)
    still = [code for code, count in found.stopping.items() if count > accepted.get(code, 0)]
    if still:
        raise PreflightError(
            f"{site} is not ready: {', '.join(still)}",
            where=found.report,
            do="the report lists every file: correct them and start again; or, knowing what you do, start once with "
            f"xai-client --site {site} --accept-findings (runs may still refuse such data)",
        )
    if found.stopping:
        progress.say(f"findings that were accepted: {', '.join(found.stopping)}")
    return True


def _examined(home: SiteHome, stopping: threading.Event) -> bool:
    """Let the examining process do its work; whether it came to its end."""
    command = [sys.executable, "-P", "-m", "client.node.examining", str(home.folder)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, PARENT: str(os.getpid())}) as process:
        while process.poll() is None:
            if stopping.wait(LOOK_SECONDS):
                process.terminate()
                return False
    if stopping.is_set():  # Ctrl-C reached both processes
        return False
    if process.returncode:
        raise _error_of(process.returncode)
    return True


def _error_of(code: int) -> XaiFederationError:
    """The named error with which the examining process ended; it has said more on the terminal."""
    kinds = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, XaiFederationError)]
    kind = next((item for item in kinds if item.exit_code == code), PreflightError)
    return kind("the site's data could not be examined", do="see above")
