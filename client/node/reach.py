"""Is there a way to the coordinator? Asked now and then, so that the status says why nothing happens."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

EVERY_SECONDS = 10.0
PATIENCE_SECONDS = 5.0
MOST_BEHIND_SECONDS, MOST_AHEAD_SECONDS = 300.0, 10.0
"""Flower accepts signatures up to 305 s old and 5 s young; an answer's date may be some seconds old itself."""
_CERTIFICATE = {
    "has expired": "the coordinator's certificate has expired: the coordinator renews it (xai-server renew); "
    "if it says it did, is this machine's clock right?",
    "not yet valid": "the coordinator's certificate is not valid yet: is this machine's clock right?",
    "mismatch": "the coordinator's certificate is for another address than that of site.yaml: ask for a new kit",
    "not valid for": "the coordinator's certificate is for another address than that of site.yaml: ask for a new kit",
    "": "the coordinator's certificate is not one of this federation: somebody else answers at its address, "
    "or the federation was founded anew and you need its new kit",
}
"""OpenSSL's words for what is wrong with a certificate, and ours."""


class Reach:
    """Asks the coordinator's ``/health`` in a thread of its own; ``problem`` is empty while it answers."""

    def __init__(self, address: str, authority: Path) -> None:
        self._url = f"https://{address}/health"
        self._authority = authority
        self._stop = threading.Event()
        self.problem = ""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ask again and again inside the block."""
        thread = threading.Thread(target=self._watch, name="reach", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        while True:
            self.problem = problem_of(self._url, self._authority)
            if self._stop.wait(EVERY_SECONDS):
                return


def problem_of(url: str, authority: Path) -> str:
    """Ask once; returns what is wrong in a few words, and who can mend it, or nothing."""
    try:
        trusted = ssl.create_default_context(cafile=str(authority))
        answer = httpx.get(url, verify=trusted, timeout=PATIENCE_SECONDS)
    except (OSError, ssl.SSLError) as error:
        return f"the authority's certificate cannot be read: {error}"
    except httpx.HTTPError as error:
        return _named(str(error) or type(error).__name__)
    if not answer.is_success:
        return f"the coordinator answers with {answer.status_code}"
    return clock_problem(answer.headers.get("date", ""), datetime.datetime.now(datetime.UTC))


def _named(text: str) -> str:
    if "certificate verify failed" not in text:
        return f"no connection: {text}"
    return next((words for part, words in _CERTIFICATE.items() if part in text), _CERTIFICATE[""])


def clock_problem(theirs: str, ours: datetime.datetime) -> str:
    """What is wrong if this machine's clock and the coordinator's are too far apart for signed requests.

    Args:
        theirs: ``Date`` of an answer that just came (RFC 9110, whole seconds).
        ours: this machine's time, with time zone.
    """
    try:
        ahead = (ours - parsedate_to_datetime(theirs)).total_seconds()
    except (ValueError, TypeError):
        return ""
    if -MOST_BEHIND_SECONDS < ahead < MOST_AHEAD_SECONDS:
        return ""
    amount = f"{abs(ahead) / 60:.0f} min" if abs(ahead) >= 120 else f"{abs(ahead):.0f} s"
    return (
        f"this machine's clock is {amount} {'ahead of' if ahead > 0 else 'behind'} the coordinator's, which refuses "
        "requests signed at a wrong time: set it, best by NTP (timedatectl set-ntp true)"
    )
