"""What tells a run from every other one, also from one with the same settings."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from common.atomic import write_text
from common.errors import CheckpointError

FILE = "identity"


def identity(folder: Path) -> str:
    """The run's identity, 32 hexadecimal digits; drawn when the run begins, read when it is resumed.

    Sites keep their state of a run under this name. No result depends on it.

    Raises:
        CheckpointError: the file is damaged.
        StorageError: it cannot be written.
    """
    file = folder / FILE
    if not file.exists():
        write_text(file, secrets.token_hex(16))
    text = file.read_text(errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise CheckpointError("the run's identity is damaged", where=str(file), do="restore it from a backup")
    return text
