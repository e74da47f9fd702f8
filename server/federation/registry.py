"""Who is admitted: ``sites.yaml``, written by the coordinator's commands and carried out by the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from common import audit
from common.adapters import adapter_of
from common.atomic import write_text
from common.enrolment import Request, fingerprint, read_file, verify
from common.errors import ConfigurationError, EnrolmentError, FingerprintError
from server.federation.founding import now
from server.federation.home import FederationHome, read_settings


@dataclass(frozen=True)
class AdmittedSite:
    """One key under one name. A revoked key stays in the list and is never admitted again."""

    site: str
    public_key: str
    admitted: str
    """Time, UTC."""
    revoked: str = ""
    """Time, UTC; empty = in force."""

    @property
    def fingerprint(self) -> str:
        """As two people compared it."""
        return fingerprint(self.public_key)


def read_sites(home: FederationHome) -> list[AdmittedSite]:
    """Every key that was ever admitted, oldest first.

    Raises:
        ConfigurationError: the file is damaged.
    """
    if not home.sites_file.exists():
        return []
    try:
        content = yaml.safe_load(home.sites_file.read_text()) or []
        return adapter_of(list[AdmittedSite]).validate_python(content)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(
            "the list of admitted sites is damaged", where=str(home.sites_file), do="restore it from a backup"
        ) from error


def _write(home: FederationHome, sites: list[AdmittedSite]) -> None:
    write_text(home.sites_file, yaml.safe_dump([asdict(site) for site in sites], sort_keys=False))


def in_force(sites: list[AdmittedSite]) -> dict[str, AdmittedSite]:
    """The keys that may connect, by site."""
    return {site.site: site for site in sites if not site.revoked}


def admit(home: FederationHome, file: Path, confirmed: Callable[[Request], bool]) -> AdmittedSite:
    """Admit the key of a request once a person has compared its fingerprint.

    Args:
        home: the federation.
        file: what ``xai-client enrol`` wrote.
        confirmed: shows the fingerprint to a person and returns whether the hospital read out the same.

    Raises:
        EnrolmentError: damaged request, another federation, unknown site, a key already in use or revoked.
        FingerprintError: the person said no.
    """
    settings = read_settings(home)
    request = read_file(file, Request)
    verify(request)
    if request.federation != settings.name:
        raise EnrolmentError(
            f"the request is for the federation {request.federation}, this one is {settings.name}", where=str(file)
        )
    if request.site not in settings.sites:
        raise EnrolmentError(
            f"no kit was made for a site {request.site}",
            where=str(file),
            do=f"known: {', '.join(settings.sites)}; make a kit first: xai-server kit {request.site}",
        )
    sites = read_sites(home)
    for known in sites:
        if known.public_key == request.public_key and known.revoked:
            raise EnrolmentError(
                f"this key of {known.site} was revoked", where=str(file), do="let the hospital enrol again: a new key"
            )
        if known.public_key == request.public_key and known.site == request.site:
            return known
        if known.public_key == request.public_key:
            raise EnrolmentError(f"this key is admitted already, as {known.site}", where=str(file))
    if request.site in in_force(sites):
        raise EnrolmentError(
            f"{request.site} is admitted already with another key",
            where=str(file),
            do=f"revoke that one first: xai-server sites --revoke {request.site}",
        )
    if not confirmed(request):
        raise FingerprintError(
            f"{request.site} is not admitted: the fingerprints were not confirmed as equal",
            where=str(file),
            do="ask the hospital which fingerprint xai-client enrol printed; if it differs, the file was exchanged",
        )
    site = AdmittedSite(request.site, request.public_key, now().isoformat(timespec="seconds"))
    _write(home, [*sites, site])
    audit.append(home.audit, "site admitted", site=site.site, fingerprint=site.fingerprint)
    return site


def revoke(home: FederationHome, name: str) -> AdmittedSite:
    """Withdraw the key of a site for ever.

    Raises:
        EnrolmentError: the site is not admitted.
    """
    sites = read_sites(home)
    current = in_force(sites).get(name)
    if current is None:
        known = ", ".join(in_force(sites)) or "none"
        raise EnrolmentError(f"{name} is not admitted", where=str(home.sites_file), do=f"admitted: {known}")
    withdrawn = replace(current, revoked=now().isoformat(timespec="seconds"))
    _write(home, [withdrawn if site == current else site for site in sites])
    audit.append(home.audit, "site revoked", site=name, fingerprint=current.fingerprint)
    return withdrawn
