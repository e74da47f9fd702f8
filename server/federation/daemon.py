"""``xai-server start``: keeps SuperLink and SuperExec running and carries out what the commands wrote down."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import httpx
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from common import audit, progress
from common.atomic import write_text
from common.code import code_digest, software_version
from common.enrolment import Request
from common.errors import AddressError, ConfigurationError, XaiFederationError
from common.locking import held
from common.processes import Child, free_port
from server.federation.certificates import WARN_DAYS, check_certificate
from server.federation.control import Control, Node
from server.federation.founding import now
from server.federation.home import FederationHome, FederationSettings, read_settings
from server.federation.keeper import Pulse, keep_runs
from server.federation.registry import read_sites
from server.federation.status import SeenSite, ServerStatus

TICK_SECONDS = 1.0
GRACE_SECONDS = 10.0


def run_server(home: FederationHome, stopping: threading.Event) -> None:
    """Serve the federation until ``stopping`` is set.

    Raises:
        FederationStateError: no federation here, or it is served already.
        CertificateError: by name.
        AddressError: the port for sites is taken.
        ConfigurationError: a secret can be read by others.
    """
    settings = read_settings(home)
    days = check_certificate(home.certificate, settings.host, now())
    if days < WARN_DAYS:
        progress.say(f"the server certificate expires in {days} days: xai-server renew")
    for secret in (home.key, home.executor_secret):
        if not secret.exists() or secret.stat().st_mode & 0o077:
            raise ConfigurationError("a key is missing or can be read by others", where=str(secret), do="chmod 600")
    with held(home.lock, "the server of this federation"), ExitStack() as stack:
        _require_free(settings.listen, settings.port)
        server = _Server(home, settings, days)
        stack.callback(server.end)
        audit.append(home.audit, "server started", version=software_version(), code=code_digest())
        while not stopping.wait(TICK_SECONDS):
            server.tick()
        progress.say("stopping")
        audit.append(home.audit, "server stopped")


class _Server:
    """The two processes, and the connection through which orders are carried out."""

    def __init__(self, home: FederationHome, settings: FederationSettings, days: int) -> None:
        self._home, self._settings, self._days = home, settings, days
        port = free_port()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {
            "FLWR_HOME": str(home.flower.resolve()),
            "PATH": path,
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
        }
        self._superlink = Child(
            "SuperLink",
            [
                *(sys.executable, "-P", "-m", "server.federation.superlink", str(home.folder)),
                *("--port", str(port)),
            ],
            home.logs / "superlink.log",
            environment,
        )
        self._superexec = Child(
            "SuperExec",
            [
                str(Path(sys.executable).parent / "flower-superexec"),
                *("--runtime-api-address", f"127.0.0.1:{port}"),
                *("--root-certificates", str(home.authority)),
                *("--superexec-auth-secret-file", str(home.executor_secret)),
                *("--parent-pid", str(os.getpid())),
            ],
            home.logs / "superexec.log",
            environment,
        )
        self._control_address = f"127.0.0.1:{port}"
        self._control = Control(port, home.authority)
        self._pulse = Pulse()
        self._said = ""
        self._shown: ServerStatus | None = None

    def tick(self) -> None:
        """Restart what died and carry out orders; a SuperLink that does not answer is asked again next time."""
        self._superlink.keep_alive()
        if self._superlink.alive:
            self._superexec.keep_alive()
        try:
            self._admit()
            keep_runs(self._home, self._control, self._pulse)
        except httpx.HTTPError as error:
            if self._said:  # else it is only starting
                self._say_once(f"the SuperLink does not answer: {error}")
        except XaiFederationError as error:
            self._say_once(f"{type(error).__name__}: {error}")
        else:
            self._say_once(f"serving {self._settings.name} at {self._settings.address}")

    def end(self) -> None:
        """Stop both processes and leave nothing behind."""
        self._superexec.stop(GRACE_SECONDS)
        self._superlink.stop(GRACE_SECONDS)
        self._control.close()
        self._home.status_file.unlink(missing_ok=True)

    def _admit(self) -> None:
        """Make the SuperLink's list of keys what ``sites.yaml`` says."""
        nodes = {node.public_key: node for node in self._control.nodes()}
        seen: list[SeenSite] = []
        for site in read_sites(self._home):
            key = Request(self._settings.name, site.site, site.public_key, "").key
            node = nodes.pop(public_key_to_bytes(key), None)
            if site.revoked:
                if node is not None and node.status != "unregistered":
                    self._control.unregister(node.number)
                    progress.say(f"{site.site}: key {site.fingerprint} is shut out")
            elif node is None:
                self._control.register(site.site, key)
                progress.say(f"{site.site}: key {site.fingerprint} is admitted")
            seen.append(_seen(site.site, site.fingerprint, node, revoked=bool(site.revoked)))
        for stranger in nodes.values():  # a key that somebody registered past sites.yaml
            if stranger.status != "unregistered":
                self._control.unregister(stranger.number)
                progress.say(f"a key registered as '{stranger.name}' is not in sites.yaml: it is shut out")
        self._show(seen)

    def _show(self, seen: list[SeenSite]) -> None:
        status = ServerStatus(self._settings.address, software_version(), self._days, self._control_address, seen)
        if status == self._shown:
            return
        before = {site.fingerprint: site.status for site in self._shown.sites} if self._shown else {}
        for site in seen:
            if before.get(site.fingerprint) != site.status and site.status in ("online", "offline"):
                progress.say(f"{time.strftime('%H:%M:%S')}  {site.site}: {site.status}")
        write_text(self._home.status_file, json.dumps(asdict(status), indent=1))
        self._shown = status

    def _say_once(self, line: str) -> None:
        """Say how things are, when that has changed."""
        if line != self._said:
            progress.say(line)
            self._said = line


def _seen(site: str, fingerprint: str, node: Node | None, *, revoked: bool) -> SeenSite:
    if revoked:
        return SeenSite(site, "revoked", "", fingerprint)
    if node is None or not (node.online_since or node.offline_since):
        return SeenSite(site, "never connected", "", fingerprint)
    online = node.status == "online"
    return SeenSite(site, node.status, node.online_since if online else node.offline_since, fingerprint)


def _require_free(host: str, port: int) -> None:
    """Refuse an address that another program holds, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                where="federation.yaml: listen, port",
                do="stop the program that holds the port, or choose another port and send new kits",
            ) from error
