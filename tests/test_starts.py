"""What a process loads at its start: those that stay for months, or answer a person, go without PyTorch."""

import subprocess
import sys

HEAVY = ("torch", "opacus", "sklearn", "matplotlib")
"""Seconds to load, and hundreds of megabytes that would be kept for as long as the process lives."""
LIGHT = (
    "client.cli",
    "client.node.enrolment",
    "client.node.examining",
    "client.node.status",
    "client.node.supernode",
    "client.node.supervisor",
    "server.cli",
    "server.federation.daemon",
    "server.federation.superlink",
    "simulations.cli",
)


def test_processes_that_do_not_compute_load_no_pytorch():
    code = f"""
import importlib, sys
for name in {LIGHT}:
    importlib.import_module(name)
    loaded = [heavy for heavy in {HEAVY} if heavy in sys.modules]
    if loaded:
        sys.exit(f"{{name}} loads {{loaded}}")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
