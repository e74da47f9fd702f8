"""The process of Flower's SuperLink with two listeners: all of it on loopback, the sites' part in public."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
from flwr.supercore.auth import load_superexec_auth_secret
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app

from common.offline import switch_off
from common.processes import die_with_parent
from server.federation.founding import now
from server.federation.home import FederationHome, read_settings
from server.federation.knocking import reason_to_refuse
from server.federation.public import OnlyForSites
from server.federation.registry import read_sites
from server.federation.visits import note_visit

GRACE_SECONDS = 5


class _SecondListener(uvicorn.Server):
    """Leaves signals to the first listener."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def probing(listener: socket.socket) -> socket.socket:
    """Let the kernel probe silent connections of this listener: one whose other end vanished is closed within a minute.

    A site that loses its line in the middle of an answer would else leave a connection behind for ever.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 30),
        (socket.TCP_KEEPINTVL, 10),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, 60_000),
    ):
        listener.setsockopt(socket.IPPROTO_TCP, option, value)  # connections inherit what their listener has
    return listener


def application(home: FederationHome, port: int) -> FastAPI:
    """The SuperLink: SQLite, admitted keys only, ServerApps in processes of their own that know the secret."""
    certificates = (home.authority.read_bytes(), home.certificate.read_bytes(), home.key.read_bytes())
    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="127.0.0.1",
        port=port,
        insecure=False,
        certificates=certificates,
        superexec_auth_secret=load_superexec_auth_secret(secret_file=str(home.executor_secret)),
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(home.authority),
        ssl_certfile=str(home.certificate),
        ssl_keyfile=str(home.key),
        database=str(home.database),
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
    return create_app(config, SuperLinkLifespan)


async def serve(home: FederationHome, port: int) -> None:
    """Serve both listeners until SIGTERM."""
    settings = read_settings(home)
    inner_app = application(home, port)
    tls = {"ssl_certfile": str(home.certificate), "ssl_keyfile": str(home.key)}
    common = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": GRACE_SECONDS, "workers": 1}
    inner = uvicorn.Server(uvicorn.Config(inner_app, host="127.0.0.1", port=port, **tls, **common))  # type: ignore[arg-type]
    config = uvicorn.Config(
        OnlyForSites(
            inner_app,
            lambda headers: reason_to_refuse(headers, read_sites(home), now()),
            lambda headers: note_visit(home, headers, now()),
        ),
        host=settings.listen,
        port=settings.port,
        lifespan="off",
        server_header=False,
        limit_concurrency=500,
        **tls,  # type: ignore[arg-type]
        **common,  # type: ignore[arg-type]
    )
    public = _SecondListener(config)
    sites = asyncio.create_task(public.serve([probing(config.bind_socket())]))
    try:
        await inner.serve()
    finally:
        public.should_exit = True
        await sites


def main() -> None:
    """Entry point of the process; ``xai-server start`` starts it."""
    parser = argparse.ArgumentParser(prog="python -m server.federation.superlink")
    parser.add_argument("home", type=Path)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    switch_off()
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("flwr", "httpx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:  # uvloop, where it is installed
        runner.run(serve(FederationHome(arguments.home), arguments.port))


if __name__ == "__main__":
    main()
