"""The SuperLink's Control interface, on loopback: register keys, list nodes, start, watch and stop runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes


@dataclass(frozen=True)
class Node:
    """A registered key as the SuperLink sees it."""

    number: int
    name: str
    public_key: bytes
    status: str
    """``registered`` (never connected), ``online``, ``offline`` or ``unregistered``."""
    online_since: str
    offline_since: str


class Control:
    """A connection to the Control interface; every call raises ``httpx.HTTPError`` when it fails."""

    def __init__(self, port: int, authority: Path) -> None:
        self._client = ControlHttpClient.from_server_address(
            f"127.0.0.1:{port}",
            insecure=False,
            root_certificates=str(authority),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-cli")],
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def nodes(self) -> list[Node]:
        """Every key that was ever registered."""
        answer = self._client.ListNodes(ListNodesRequest())
        return [
            Node(
                item.node_id,
                item.name,
                item.public_key,
                item.status,
                item.last_activated_at,
                item.last_deactivated_at,
            )
            for item in answer.nodes_info
        ]

    def register(self, name: str, key: ec.EllipticCurvePublicKey) -> None:
        """Admit a key under a name."""
        self._client.RegisterNode(RegisterNodeRequest(public_key=public_key_to_bytes(key), name=name))

    def unregister(self, number: int) -> None:
        """Shut a key out, for ever."""
        self._client.UnregisterNode(UnregisterNodeRequest(node_id=number))

    def start_run(self, folder: Path) -> int:
        """Let the installed ServerApp work on a run folder; returns Flower's number of the run, 0 if refused."""
        with resources.as_file(resources.files("server.federation") / "app") as place:
            bundle = build_fab_from_disk(place)
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        override = user_config_to_proto({"run-folder": str(folder.resolve())})
        answer = self._client.StartRun(StartRunRequest(fab=fab_to_proto(fab), override_config=override))
        return int(answer.run_id) if answer.HasField("run_id") else 0

    def run_status(self, number: int) -> str:
        """``pending``, ``starting``, ``running``, or ``finished:`` with ``completed``, ``failed`` or ``stopped``."""
        answer = self._client.ListRuns(ListRunsRequest(run_id=number))
        status = answer.run_dict[number].status
        return f"{status.status}:{status.sub_status}" if status.sub_status else str(status.status)

    def stop_run(self, number: int) -> None:
        """Stop a run."""
        self._client.StopRun(StopRunRequest(run_id=number))
