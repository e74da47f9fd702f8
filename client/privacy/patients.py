"""Which patients a data set holds, as the ledger knows them: keyed hashes that mean nothing outside the site.

A set is a file named after the digest of what is in it, so a changed one is noticed. With the site's own
secret key nobody can find out from a file whether a certain patient is in it by hashing her identifier.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from common.atomic import write_bytes
from common.errors import LedgerError

KEY, SETS = Path("keys") / "patients.key", "privacy-patients"
KEY_BYTES, SHOWN = 32, 32
_RESTORE = (
    "restore it from a backup; without it nobody can say whose budget was spent, and nothing is trained privately"
)


def make_key(state: Path) -> bytes:
    """The site's key for patients' identifiers; made when there is none.

    Raises:
        StorageError: it cannot be written.
        LedgerError: it is damaged.
    """
    if not (state / KEY).exists():
        write_bytes(state / KEY, secrets.token_bytes(KEY_BYTES), mode=0o600)
    return read_key(state)


def read_key(state: Path) -> bytes:
    """The site's key for patients' identifiers.

    Raises:
        LedgerError: it is missing or damaged.
    """
    try:
        found = (state / KEY).read_bytes()
    except OSError as error:
        raise LedgerError("the key of the privacy ledger is missing", where=str(state / KEY), do=_RESTORE) from error
    if len(found) != KEY_BYTES:
        raise LedgerError("the key of the privacy ledger is damaged", where=str(state / KEY), do=_RESTORE)
    return found


def mark(key: bytes) -> str:
    """What tells one key from another and nothing else."""
    return _hash(key, "which key")


def hashed(key: bytes, patients: Iterable[str]) -> frozenset[str]:
    """Keyed hashes of identifiers: HMAC-SHA-256, the first 128 bits."""
    return frozenset(_hash(key, f"patient {patient}") for patient in patients)


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:SHOWN]


def fingerprint(members: frozenset[str]) -> str:
    """Name of a set of hashed patients, by its content."""
    return hashlib.sha256("\n".join(sorted(members)).encode()).hexdigest()[:SHOWN]


def remember(state: Path, members: frozenset[str]) -> str:
    """Write a set down if it is not; returns its fingerprint.

    Raises:
        StorageError: it cannot be written.
    """
    name = fingerprint(members)
    if not (state / SETS / name).exists():
        write_bytes(state / SETS / name, "\n".join(sorted(members)).encode(), mode=0o600)
    return name


def recall(state: Path, name: str) -> frozenset[str]:
    """The hashed patients of a set that was written down.

    Raises:
        LedgerError: its file is missing or was changed.
    """
    path = state / SETS / name
    try:
        members = frozenset(path.read_text().split())
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError("a set of patients of the privacy ledger is missing", where=str(path), do=_RESTORE) from error
    if fingerprint(members) != name:
        raise LedgerError("a set of patients of the privacy ledger was changed", where=str(path), do=_RESTORE)
    return members
