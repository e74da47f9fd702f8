"""Founding a federation: authority, certificate, secrets, settings and startup kits."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from common import audit
from common.atomic import write_bytes, write_text
from common.enrolment import Kit, to_text
from common.errors import CertificateError, ConfigurationError, FederationStateError
from common.names import check_name
from server.federation.certificates import make_authority, make_server_certificate
from server.federation.home import FederationHome, FederationSettings, read_settings, write_settings

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
SECRET = 0o600


def found(home: FederationHome, settings: FederationSettings) -> list[Path]:
    """Make a new federation in its folder; returns the startup kits.

    Raises:
        FederationStateError: there is a federation in the folder already.
        ConfigurationError: a name or host that cannot be one.
        StorageError: the folder cannot be written.
    """
    if home.settings_file.exists():
        raise FederationStateError(
            "the folder already holds a federation",
            where=str(home.folder),
            do="choose another --home; add a site with xai-server kit SITE",
        )
    check_name(settings.name)
    check_host(settings.host)
    for site in settings.sites:
        check_name(site)
    home.folder.mkdir(parents=True, exist_ok=True)
    home.key.parent.mkdir(mode=0o700, exist_ok=True)
    authority, authority_key = make_authority(settings.name, now())
    write_bytes(home.authority, authority)
    write_bytes(home.authority_key, authority_key, SECRET)
    write_bytes(home.executor_secret, secrets.token_hex(32).encode(), SECRET)
    renew(home, settings.host)
    write_settings(home, settings)  # last: with it the federation is complete
    audit.append(home.audit, "federation founded", name=settings.name, address=settings.address)
    return [write_kit(home, settings, site) for site in settings.sites]


def renew(home: FederationHome, host: str, days: int | None = None) -> None:
    """Sign a new server certificate with the federation's authority; sites need nothing new.

    Raises:
        CertificateError: the authority's key is not there.
    """
    try:
        authority, authority_key = home.authority.read_bytes(), home.authority_key.read_bytes()
    except OSError as error:
        raise CertificateError(
            "the authority's certificate or key is not there",
            where=str(home.authority_key),
            do="put it back from where you keep it, renew, and take it away again",
        ) from error
    lifetime = {} if days is None else {"days": days}
    certificate, key = make_server_certificate(authority, authority_key, host, now(), **lifetime)
    write_bytes(home.key, key, SECRET)
    write_bytes(home.certificate, certificate)


def add_sites(home: FederationHome, names: Sequence[str]) -> list[Path]:
    """Make kits for further sites, or make their kits anew; returns the kits.

    Raises:
        FederationStateError, ConfigurationError: as named.
    """
    settings = read_settings(home)
    for name in names:
        check_name(name)
    settings.sites = list(dict.fromkeys([*settings.sites, *names]))
    write_settings(home, settings)
    return [write_kit(home, settings, name) for name in names]


def write_kit(home: FederationHome, settings: FederationSettings, site: str) -> Path:
    """Write a site's startup kit and return its path."""
    path = home.kits / f"{site}.kit.yaml"
    write_text(path, to_text(Kit(settings.name, site, settings.address, home.authority.read_text())))
    return path


def check_host(host: str) -> str:
    """Return ``host`` if it can be a host's name or IP address.

    Raises:
        ConfigurationError: it cannot (a URL, a port, blanks).
    """
    if not _HOST.fullmatch(host) or host.count(":") == 1:
        raise ConfigurationError(
            f"'{host}' is not a host", do="give the name or IP address alone, e.g. --host fl.example.org"
        )
    return host


def now() -> datetime.datetime:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.UTC)
