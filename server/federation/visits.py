"""What each site said of its program when it was last let in, in a small file that commands read."""

from __future__ import annotations

import binascii
import datetime
import json
import logging
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.primitives.asymmetric import bytes_to_public_key
from pydantic import ValidationError

from common.adapters import adapter_of
from common.atomic import write_text
from common.code import CODE_HEADER, VERSION_HEADER
from common.enrolment import fingerprint, openssh
from common.errors import StorageError
from server.federation.home import FederationHome

_WORD = re.compile(r"[\w.+-]{1,64}", re.ASCII)

logger = logging.getLogger("xai_federation.visits")


@dataclass(frozen=True)
class Visit:
    """A site that was let in: its program and when."""

    version: str
    code: str
    """SHA-256 over the program's source, as the site says it."""
    time: str
    """UTC."""


def read_visits(home: FederationHome) -> dict[str, Visit]:
    """The last visit of each key, by its fingerprint; a lost or damaged file is an empty one."""
    try:
        return adapter_of(dict[str, Visit]).validate_json(home.visits_file.read_bytes())
    except (OSError, ValidationError):
        return {}


def note_visit(home: FederationHome, headers: Mapping[bytes, bytes], now: datetime.datetime) -> None:
    """Remember what a site that was just let in says of its program.

    Args:
        home: the federation.
        headers: of its request, whose signature Flower has checked.
        now: time, UTC.
    """
    try:
        key = bytes_to_public_key(b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode()], validate=True))
        who = fingerprint(openssh(key))
    except (KeyError, ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        return
    version, code = (_word(headers.get(name.encode(), b"")) for name in (VERSION_HEADER, CODE_HEADER))
    visit = Visit(version, code, now.isoformat(timespec="seconds"))
    try:
        write_text(home.visits_file, json.dumps({k: asdict(v) for k, v in (read_visits(home) | {who: visit}).items()}))
    except StorageError as error:  # the site is let in all the same; only the list is out of date
        logger.error("%s", error)


def _word(text: bytes) -> str:
    word = text.decode("ascii", "replace")
    return word if _WORD.fullmatch(word) else ""
