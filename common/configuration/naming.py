"""Finds the name that was probably meant."""

from __future__ import annotations

import difflib


def nearest(name: str, candidates: list[str]) -> str:
    """Say which candidate was probably meant; empty when none is close.

    Compares the whole dotted name first, then the last part alone.
    """
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not close:
        last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in candidates}
        close = [last[part] for part in difflib.get_close_matches(name.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.7)]
    return close[0] if close else ""
