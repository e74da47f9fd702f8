"""The roll of ``xai-server sites``: one line a site, with its state, its program and its key."""

from __future__ import annotations

from collections.abc import Iterator

from common.code import SHORT, code_digest
from server.federation.home import FederationHome, FederationSettings
from server.federation.registry import read_sites
from server.federation.status import read_status
from server.federation.visits import Visit, read_visits


def overview(home: FederationHome, settings: FederationSettings) -> Iterator[str]:
    """Yield the lines: admitted and revoked keys, then names that only have a kit."""
    status, visits = read_status(home), read_visits(home)
    seen = {site.fingerprint: site for site in status.sites} if status else {}
    known = read_sites(home)
    for site in known:
        now, visit = seen.get(site.fingerprint), visits.get(site.fingerprint)
        word = "revoked" if site.revoked else now.status if now else "server is not running"
        since = site.revoked or (now.since if now else "") or (visit.time if visit else "")
        yield f"{site.site:12} {word:22} {since[:19]:20} {_program(visit):32} {site.fingerprint}"
    listed = {site.site for site in known}
    for name in settings.sites:
        if name not in listed:
            yield f"{name:12} has a kit, no request yet"


def _program(visit: Visit | None) -> str:
    """Version and digest that the site named when it was last let in."""
    if visit is None or not visit.code:
        return "-"
    other = "" if visit.code == code_digest() else ", not ours"
    return f"{visit.version} ({visit.code[:SHORT]}{other})"
