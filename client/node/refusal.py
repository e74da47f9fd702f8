"""Why the coordinator does not let this node in: its word, and what the hospital can do."""

from __future__ import annotations

import re

_REASON = re.compile(r"Failed to initialize the connection to the SuperLink\.\s*\[code: \d+\] (.*)")
_DO = {
    "KeyNotAdmitted": "ask the coordinator whether your request was enrolled",
    "KeyRevoked": "ask the coordinator; for a new key delete keys/node.key and enrol again",
    "ClockWrong": "set this machine's clock, best by NTP (timedatectl set-ntp true); "
    "at most 5 s ahead and 5 min behind are accepted",
    "Failed to activate SuperNode.": "another node with this key is connected, or was until a minute ago",
}
LONGEST = 200


def refusal_in(line: str) -> str:
    """The reason that a line of Flower's SuperNode gives for not being let in, with what to do; empty if it gives none.

    Args:
        line: of its log. What the coordinator wrote in it is cut and stripped of control characters.
    """
    found = _REASON.search(line)
    if not found:
        return ""
    reason = "".join(letter for letter in found[1] if letter.isprintable())[:LONGEST]
    do = next((text for name, text in _DO.items() if reason.startswith(name)), "")
    return f"refused by the coordinator: {reason}{f'; {do}' if do else ''}"
