"""Which program is this: version, and a digest over the installed source that sites pin and compare."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("client", "common")
"""What runs in a hospital."""
VERSION_HEADER, CODE_HEADER = "xai-version", "xai-code"
"""A node's requests say in these which program it is."""
SHORT = 12
"""Characters of a digest that people compare."""


@cache
def code_digest() -> str:
    """SHA-256 over path and content of every Python file of the packages that run in a hospital.

    It is taken from the files on disk, without importing them.
    """
    sha = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None
        root = Path(spec.origin).parent
        for file in sorted(root.rglob("*.py")):
            content = file.read_bytes()
            sha.update(f"{package}/{file.relative_to(root).as_posix()}|{len(content)}|".encode())
            sha.update(content)
    return sha.hexdigest()


@cache
def software_version() -> str:
    """Version of the installed distribution; ``0`` when it runs from a source tree that was never installed."""
    try:
        return version("xai-federation")
    except PackageNotFoundError:
        return "0"
