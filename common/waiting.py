"""How long to wait before looking again: short pauses where a round hangs on them, longer ones where nothing comes.

Flower's own pauses (1, 2, 4, 8, 10 s for a part of a message, 3 s for a message) make up most of a small
round. Figures: docs/developer.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from flwr.supercore.inflatable.inflatable_utils import pull_objects

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Between two looks for a part of a message, seconds. A message is announced before its parts are uploaded."""
SHARE = 0.1


@dataclass
class Pace:
    """Pauses of a tenth of the time waited so far, within bounds: little is lost of a short wait or of a long one."""

    shortest: float
    longest: float
    """Seconds."""
    waited: float = 0.0
    """Since something came last, seconds."""

    def pause(self) -> float:
        """How long to wait before the next look, seconds; counts it as waited."""
        seconds = min(max(SHARE * self.waited, self.shortest), self.longest)
        self.waited += seconds
        return seconds

    def restart(self) -> None:
        """Something came."""
        self.waited = 0.0


def look_often() -> None:
    """Let this process's Flower look for missing parts of messages after short pauses; call it once."""
    defaults = pull_objects.__kwdefaults__
    assert defaults is not None
    assert {"initial_backoff", "backoff_cap"} <= defaults.keys()
    defaults.update(initial_backoff=FIRST_PAUSE, backoff_cap=LONGEST_PAUSE)
