"""Shorter pauses in Flower's loops: with its own (1, 2, 4, 8, 10 s) most of a small round is sleep.

A message is announced before its parts are uploaded, so whoever receives it looks for parts that
are not there yet, and pauses. Figures: docs/architecture.md.
"""

from __future__ import annotations

from flwr.supercore.inflatable.inflatable_utils import pull_objects

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Between two looks for a part of a message, seconds."""


def look_often() -> None:
    """Let this process's Flower look for missing parts of messages after short pauses; call it once."""
    defaults = pull_objects.__kwdefaults__
    assert defaults is not None
    assert {"initial_backoff", "backoff_cap"} <= defaults.keys()
    defaults.update(initial_backoff=FIRST_PAUSE, backoff_cap=LONGEST_PAUSE)
