"""Atomic writes: a reader sees the old file or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from common.errors import StorageError


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` through a synced temporary file and a rename.

    Args:
        path: file to write; its folder is made if it is not there.
        data: content.
        mode: permissions; a secret is never readable by others, not even for a moment.

    Raises:
        StorageError: disk full or no permission; an earlier file at ``path`` is left as it was.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        advice = "free some space" if error.errno == errno.ENOSPC else "check the folder and its permissions"
        raise StorageError(
            f"cannot write {path.name}: {error.strerror or error}",
            where=str(path),
            do=f"{advice}, then run the same command again; what was saved before is intact",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; errors as in :func:`write_bytes`."""
    write_bytes(path, text.encode())
