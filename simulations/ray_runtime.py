"""A run in Flower's own simulation runtime: every site's questions are answered by Ray's worker processes.

The same ServerApp and ClientApp as everywhere. Ray is an optional package; nothing here is needed without it.
"""

from __future__ import annotations

import contextvars
import importlib.util
import json
import logging
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_INTERVAL_INF, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, PARTITION_ID_KEY
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.fleet.vce.metrics import VceMetrics
from flwr.server.superlink.fleet.vce.vce_api import start_vce
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

from client.app import app as client_app
from client.site import Site
from common.errors import ConfigurationError, RunStateError
from server.app import app as server_app

RUN_ID, SERVER_NODE, TASK_ID = 1, 1, 1


def require_ray() -> None:
    """Refuse to begin without Ray.

    Raises:
        ConfigurationError: it is not installed; names what to install.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError(
            "the engine 'ray' needs the package Ray, which is not installed",
            where="--engine ray",
            do="pip install 'xai-federation[simulation]'; or leave --engine out: the model has the same bits",
        )


@dataclass(frozen=True)
class SitesApp:
    """The ClientApp of all sites: the runtime numbers its nodes, and each number is a site here."""

    sites: tuple[Mapping[str, str], ...]
    """What a deployed node is configured with: name, data folder, state folder."""

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a question as the site that it was sent to."""
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, context.node_id, TASK_ID
        own = self.sites[int(context.node_config[PARTITION_ID_KEY])]
        return client_app(message, Context(context.run_id, context.node_id, dict(own), RecordDict(), {}))


@dataclass
class _ServerThread:
    """The ServerApp in a thread of its own, with the reporter of the thread that starts it."""

    grid: InMemoryGrid
    folder: Path
    ended: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def start(self) -> threading.Thread:
        """Start it; ``ended`` is set when it has ended."""
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="ServerApp", daemon=True
        )
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            server_app(self.grid, Context(RUN_ID, SERVER_NODE, {}, RecordDict(), {"run-folder": str(self.folder)}))
        except Exception as error:  # it is raised again by the thread that waits
            self.error = error
        finally:
            self.ended.set()


def run_with_ray(folder: Path, sites: Mapping[str, Site], threads: int) -> None:
    """Carry out the run whose ``config.yaml`` lies in ``folder``.

    Args:
        folder: run folder.
        sites: by name.
        threads: a site computes with so many; 0 = all, one site after the other.

    Raises:
        ConfigurationError: Ray is not installed.
        RunStateError: Ray does not start, or fails.
        XaiFederationError: by name, as the ServerApp raised it.
    """
    require_ray()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    # Ray hides the GPUs from tasks that reserve none; here a site computes where it does with every other engine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    grid, nodes, factory, run = _in_memory_federation(list(sites))
    apps = tuple({"site": name, "data": str(site.data), "state": str(site.state)} for name, site in sites.items())
    cores = os.cpu_count() or 1
    settings = {
        # Ray's ports have no login: none of them may be reached from outside
        "init_args": {"num_cpus": cores, "_node_ip_address": "127.0.0.1", "logging_level": "ERROR"},
        "client_resources": {"num_cpus": min(threads or cores, cores), "num_gpus": 0.0},
        "actor": {"tensorflow": 0},
    }
    server = _ServerThread(grid, folder)
    thread = server.start()
    try:
        start_vce(  # returns when the ServerApp has ended
            backend_name="ray",
            backend_config_json_stream=json.dumps(settings),
            app_dir="",
            is_app=False,
            f_stop=server.ended,
            run=run,
            metrics=VceMetrics(),
            client_app=cast(ClientApp, SitesApp(apps)),
            state_factory=factory,
            existing_nodes_mapping=nodes,
        )
    except RuntimeError as error:
        raise RunStateError(
            f"Flower's simulation runtime failed: {error}", where=str(folder), do=f"xai-sim resume {folder}"
        ) from error
    thread.join()
    if server.error is not None:
        raise server.error


def _in_memory_federation(sites: list[str]) -> tuple[InMemoryGrid, dict[int, int], LinkStateFactory, Run]:
    """A SuperLink's state in memory: a run, and for each site a node of that name, as a deployment registers it."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, SERVER_NODE, TASK_ID
    factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    state = cast(InMemoryLinkState, factory.state())
    run = Run.create_empty(RUN_ID)
    run.primary_task_id, run.federation_id = TASK_ID, NOOP_FEDERATION_ID
    state.run_ids[RUN_ID] = RunRecord(run=run)
    state.task_store[TASK_ID] = Task(task_id=TASK_ID, run_id=RUN_ID)
    nodes: dict[int, int] = {}
    for number, name in enumerate(sites):
        node = state.create_node(
            NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, secrets.token_bytes(32), HEARTBEAT_INTERVAL_INF, name=name
        )
        state.acknowledge_node_heartbeat(node, HEARTBEAT_INTERVAL_INF)
        nodes[node] = number
    grid = InMemoryGrid(state_factory=factory)
    grid.set_run(run)
    return grid, nodes, factory, run
