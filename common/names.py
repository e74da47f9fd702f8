"""Names of sites, runs and federations: they become file names, table cells and node names."""

from __future__ import annotations

import re

from common.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_name(name: str) -> str:
    """Return ``name`` if it can serve as the name of a site, run or federation.

    Raises:
        ConfigurationError: it holds anything but letters, digits, dot, dash and underscore.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{name}' cannot be a site's name", do="use letters, digits, '.', '-' and '_' (at most 64, e.g. TUH)"
        )
    return name
