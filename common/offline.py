"""Keeps libraries from calling home; imported before them by every command."""

from __future__ import annotations

import os

SWITCHES = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}


def switch_off() -> None:
    """Set every switch in this process's environment; children inherit them."""
    os.environ.update(SWITCHES)
