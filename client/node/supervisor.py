"""The node: keeps SuperNode and executor running, for ever, and says how it is."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, replace

from client.node.health import health_server
from client.node.home import SiteHome, SiteSettings, read_settings
from client.node.reach import Reach
from client.node.readiness import make_ready
from client.node.status import STATE, Doing, NodeStatus, describe, read_activity
from common import audit, progress
from common.atomic import write_text
from common.code import code_digest, software_version
from common.data.manifest import MANIFEST
from common.errors import CodeChangedError, ConfigurationError, EmptySiteError, StorageError
from common.locking import held
from common.processes import Child, free_port

TICK_SECONDS = 0.5
GRACE_SECONDS = 300.0
"""How long a request that is being worked on may take to be finished at a graceful stop."""
DELIVERY_SECONDS = 5.0
"""How long the SuperNode is given to hand over the last answer."""


def preflight(home: SiteHome) -> SiteSettings:
    """Check everything that can be checked before connecting.

    Raises:
        ConfigurationError: ``site.yaml`` is wrong, or a secret can be read by others.
        CodeChangedError: the installed program is not the accepted one.
        EmptySiteError: the data folder has no manifest.
    """
    settings = read_settings(home)
    if settings.code != code_digest():
        raise CodeChangedError(
            f"the installed program ({code_digest()[:12]}) is not the accepted one ({settings.code[:12]})",
            where=str(home.settings_file),
            do=f"if you meant to update it: xai-client --site {settings.site} pin; if not, find out who changed it",
        )
    data = home.data(settings)
    if not (data / MANIFEST).is_file():
        raise EmptySiteError(f"the data folder has no {MANIFEST}", where=str(data), do="correct data: in site.yaml")
    for secret in (home.key, home.executor_secret):
        if not secret.exists():
            raise ConfigurationError("a key is missing", where=str(secret), do="enrol again with your startup kit")
        if secret.stat().st_mode & 0o077:
            raise ConfigurationError("a key can be read by others", where=str(secret), do=f"chmod 600 {secret}")
    return settings


def run_node(home: SiteHome, stopping: threading.Event, *, accept_findings: bool = False) -> None:
    """Be a node of the federation until ``stopping`` is set.

    Args:
        home: the site's state folder.
        stopping: ends it.
        accept_findings: start although preflight finds that the data are not fit for training, now and from now on.

    Raises:
        XaiFederationError: what :func:`preflight` or the examination of the data finds, or the node runs already.
    """
    settings = preflight(home)
    with held(home.lock, f"the node of {settings.site}"), ExitStack() as stack:
        examining = NodeStatus("examining", settings.address, "its data", software_version(), 0, "", time.time())
        write_text(home.status_file, json.dumps(asdict(examining), indent=1))
        stack.callback(home.status_file.unlink, missing_ok=True)
        if not make_ready(home, settings.site, stopping, accept=accept_findings):
            return
        node = _Node(home, settings)
        stack.callback(node.end)
        if settings.health:
            stack.enter_context(health_server(settings.health, node.healthy))
        stack.enter_context(node.reach.watched())
        audit.append(home.audit, "node started", code=settings.code, address=settings.address)
        progress.say(f"{settings.site}: connecting to {settings.address}")
        while not stopping.wait(TICK_SECONDS):
            node.tick()
        node.finish()
        audit.append(home.audit, "node stopped")


class _Node:
    """SuperNode and executor together: the one is of no use without the other."""

    def __init__(self, home: SiteHome, settings: SiteSettings) -> None:
        self._home, self._settings = home, settings
        for file in (home.connected_file, home.refused_file, home.activity_file):
            file.unlink(missing_ok=True)
        port, environment = free_port(), {"FLWR_HOME": str(home.flower.resolve())}
        self._supernode = Child(
            "SuperNode",
            _supernode_command(home, settings, port),
            home.logs / "supernode.log",
            environment | {STATE: str(home.folder.resolve())},
        )
        cores = settings.policy.cores
        self._executor = Child(
            "executor",
            [
                *(sys.executable, "-P", "-m", "client.node.executor", str(home.folder)),
                *("--runtime", f"127.0.0.1:{port}"),
            ],
            home.logs / "executor.log",
            environment | ({"OMP_NUM_THREADS": str(cores)} if cores else {}),
        )
        self.reach = Reach(settings.address, home.authority)
        self._restarts = -1
        self._shown = NodeStatus("connecting", settings.address, "starting", software_version(), 0, "", time.time())
        self._line = ""

    def tick(self) -> None:
        """Restart what died, and bring the status up to date."""
        if self._supernode.process is not None and not self._supernode.alive:
            self._home.connected_file.unlink(missing_ok=True)
            self._executor.stop(0.0)  # what it works on belongs to the SuperNode that died
            self._executor.due = 0.0
        elif self._executor_died_at_work():
            # its request died with it, and the SuperNode would wait for the answer; a new one is asked again
            self._supernode.stop(DELIVERY_SECONDS)
            self._home.connected_file.unlink(missing_ok=True)
            self._home.activity_file.unlink(missing_ok=True)
        self._restarts += self._supernode.keep_alive()
        if self._supernode.alive:
            self._executor.keep_alive()
        self._show(self._state())

    def healthy(self) -> bool:
        """Whether the node could answer a request now."""
        return self._shown.state == "connected" and self._executor.alive

    def finish(self) -> None:
        """Let the executor finish its request and the SuperNode deliver the answer."""
        self._show("stopping")
        doing = read_activity(self._home.activity_file)
        if self._executor.alive and doing.what != "idle":
            progress.say(f"finishing: {doing.line()} (at most {GRACE_SECONDS:.0f} s)")
            self._executor.stop(GRACE_SECONDS)
            time.sleep(DELIVERY_SECONDS)

    def end(self) -> None:
        """Stop both processes and leave nothing behind."""
        self._executor.stop(DELIVERY_SECONDS)
        self._supernode.stop(DELIVERY_SECONDS)
        for file in (self._home.connected_file, self._home.refused_file, self._home.status_file):
            file.unlink(missing_ok=True)

    def _executor_died_at_work(self) -> bool:
        if self._executor.process is None or self._executor.alive:
            return False
        return read_activity(self._home.activity_file).what not in ("idle", "starting")

    def _state(self) -> str:
        if not self._home.connected_file.exists():
            return "connecting"
        return "unreachable" if self.reach.problem else "connected"

    def _refusal(self) -> str:
        """Why the coordinator did not let the node in when it last asked."""
        if self._home.connected_file.exists():
            self._home.refused_file.unlink(missing_ok=True)
        return self._home.refused_file.read_text() if self._home.refused_file.exists() else ""

    def _show(self, state: str) -> None:
        doing = read_activity(self._home.activity_file) if self._executor.alive else Doing()
        since = self._shown.since if state == self._shown.state else time.time()
        problem = "" if state == "connected" else self.reach.problem or self._refusal()
        status = NodeStatus(
            state, self._settings.address, doing.line(), software_version(), max(0, self._restarts), problem, since
        )
        if status != self._shown or not self._home.status_file.exists():
            try:
                write_text(self._home.status_file, json.dumps(asdict(status), indent=1))
            except StorageError as error:  # the node stays; only its status is out of date
                status = replace(status, problem=error.what)
        self._shown = status
        line = describe(status)
        if line != self._line:
            progress.say(f"{time.strftime('%H:%M:%S')}  {self._settings.site}: {line}")
            self._line = line


def _supernode_command(home: SiteHome, settings: SiteSettings, port: int) -> list[str]:
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
