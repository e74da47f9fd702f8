"""What the running server last saw, in a small file that commands read."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from common.adapters import adapter_of
from common.locking import is_held
from server.federation.home import FederationHome


@dataclass(frozen=True)
class SeenSite:
    """An admitted site as the server last saw it."""

    site: str
    status: str
    """``never connected``, ``online``, ``offline`` or ``revoked``."""
    since: str
    fingerprint: str


@dataclass(frozen=True)
class ServerStatus:
    """``status.json``."""

    address: str
    version: str
    certificate_days: int
    control: str
    """``host:port`` of Flower's Control interface, on loopback."""
    sites: list[SeenSite]


def read_status(home: FederationHome) -> ServerStatus | None:
    """What a running server last wrote; ``None`` when none runs."""
    if not is_held(home.lock):
        return None
    try:
        return adapter_of(ServerStatus).validate_json(home.status_file.read_bytes())
    except (OSError, ValidationError):
        return None
