"""Why a node that asks to be let in is refused, in words for the hospital that has to act."""

from __future__ import annotations

import binascii
import datetime
from base64 import b64decode
from collections.abc import Mapping, Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, public_key_to_bytes

from common.enrolment import Request, fingerprint, openssh
from server.federation.registry import AdmittedSite


def reason_to_refuse(headers: Mapping[bytes, bytes], sites: Sequence[AdmittedSite], now: datetime.datetime) -> str:
    """Say why the sender of a signed request is not let in; empty if it may be, or if Flower has to judge.

    The signature itself is Flower's to check: here a sender is only told what it could find out anyhow.

    Args:
        headers: of the request, names in lower case.
        sites: every key that was ever admitted.
        now: time, UTC.
    """
    try:
        key = bytes_to_public_key(b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode()], validate=True))
        signed = datetime.datetime.fromisoformat(headers[TIMESTAMP_HEADER.lower().encode()].decode("ascii"))
        ahead = (signed - now).total_seconds()
    except (KeyError, ValueError, TypeError, UnicodeError, UnsupportedAlgorithm, binascii.Error):
        return ""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return ""
    known = {public_key_to_bytes(Request("", site.site, site.public_key, "").key): site for site in sites}
    site = known.get(public_key_to_bytes(key))
    if site is None:
        return f"KeyNotAdmitted: the key {fingerprint(openssh(key))} is not admitted here"
    if site.revoked:
        return f"KeyRevoked: the key {site.fingerprint} of {site.site} was withdrawn on {site.revoked[:10]}"
    if not -(TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE) < ahead < SYSTEM_TIME_TOLERANCE:
        way = "ahead of" if ahead > 0 else "behind"
        return f"ClockWrong: the clock of {site.site} is {_duration(abs(ahead))} {way} the coordinator's"
    return ""


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
