"""Is there a way to the coordinator? Asked now and then, so that the status says why nothing happens."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

EVERY_SECONDS = 10.0
PATIENCE_SECONDS = 5.0


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
    """Ask once; returns what is wrong in a few words, or nothing."""
    try:
        trusted = ssl.create_default_context(cafile=str(authority))
        answer = httpx.get(url, verify=trusted, timeout=PATIENCE_SECONDS)
    except (OSError, ssl.SSLError) as error:
        return f"the authority's certificate cannot be read: {error}"
    except httpx.HTTPError as error:
        text = str(error)
        if "certificate verify failed" in text:
            return "the coordinator's certificate is not one of this federation, or has expired"
        return f"no connection: {text or type(error).__name__}"
    return "" if answer.is_success else f"the coordinator answers with {answer.status_code}"
