"""Says goodbye for a SuperNode that was killed, so that its successor is let in at once.

The coordinator lets a key in once. A SuperNode that ends says goodbye; of one that was killed it is believed for
up to a minute that it lives, and its successor would be refused for as long.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from common.atomic import write_text

PATIENCE_SECONDS = 5.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def remember(note: Path, number: int) -> None:
    """Note under which number the coordinator knows the SuperNode that is connected now."""
    write_text(note, json.dumps({"number": number, "boot": _BOOT.read_text().strip()}))


def remembered(note: Path) -> int | None:
    """The number of the SuperNode before, if it ran on this machine since it was switched on.

    Elsewhere it may still be running: a state folder that was copied must not put out the node that it was copied from.
    """
    try:
        found = json.loads(note.read_text())
        return int(found["number"]) if found["boot"] == _BOOT.read_text().strip() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def say_goodbye(address: str, authority: Path, key: Path, note: Path) -> None:
    """Tell the coordinator that the SuperNode before is gone; when it cannot be reached, nothing is lost.

    Args:
        address: ``host:port`` of the coordinator.
        authority: certificate of the federation's authority.
        key: the site's.
        note: what :func:`remember` wrote.
    """
    number = remembered(note)
    note.unlink(missing_ok=True)
    if number is None:
        return
    try:
        private = load_ssh_private_key(key.read_bytes(), None)
    except (OSError, ValueError):
        return  # the SuperNode, which starts next, says what is wrong with the key
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        return
    client = FleetHttpClient(
        f"https://{address}",
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(private, private.public_key()),
        ],
        verify=ssl.create_default_context(cafile=str(authority)),
        timeout=PATIENCE_SECONDS,
    )
    with client, contextlib.suppress(httpx.HTTPError):  # one that had said goodbye itself is refused
        client.DeactivateNode(DeactivateNodeRequest(node_id=number))
