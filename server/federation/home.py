"""A federation's folder at the coordinator: what lies where, and its settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml
from pydantic import ValidationError

from common.adapters import adapter_of
from common.atomic import write_text
from common.errors import ConfigurationError, FederationStateError

SETTINGS = "federation.yaml"


@dataclass
class FederationSettings:
    """``federation.yaml``: what the coordinator may edit; ``xai-server start`` reads it."""

    name: str
    host: str
    """Name or IP address under which sites reach the coordinator; the certificate is for it."""
    port: int = 8443
    """Port of the listener for sites."""
    listen: str = "0.0.0.0"
    """Address that the listener for sites binds to."""
    sites: list[str] = field(default_factory=list)
    """Names for which kits were made."""

    @property
    def address(self) -> str:
        """``host:port`` as sites use it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class FederationHome:
    """Paths inside a federation's folder."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """``federation.yaml``."""
        return self.folder / SETTINGS

    @property
    def authority(self) -> Path:
        """Certificate of the federation's own authority; every kit holds it."""
        return self.folder / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """Secret. Only needed to renew the server certificate: may be kept elsewhere."""
        return self.folder / "keys" / "ca.key"

    @property
    def certificate(self) -> Path:
        """Certificate of the server."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """Secret key of the server."""
        return self.folder / "keys" / "server.key"

    @property
    def executor_secret(self) -> Path:
        """Secret between SuperLink and the process that runs ServerApps."""
        return self.folder / "keys" / "superexec.secret"

    @property
    def kits(self) -> Path:
        """Startup kits, one file a site."""
        return self.folder / "kits"

    @property
    def sites_file(self) -> Path:
        """Admitted and revoked sites."""
        return self.folder / "sites.yaml"

    @property
    def status_file(self) -> Path:
        """What the running server last saw."""
        return self.folder / "status.json"

    @property
    def visits_file(self) -> Path:
        """What each site said of its program when it was last let in."""
        return self.folder / "visits.json"

    @property
    def database(self) -> Path:
        """SuperLink's SQLite database."""
        return self.folder / "superlink.sqlite"

    @property
    def lock(self) -> Path:
        """Held by the running server."""
        return self.folder / "server.lock"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.folder / "runs"

    @property
    def logs(self) -> Path:
        """Output of the server's processes."""
        return self.folder / "log"

    @property
    def audit(self) -> Path:
        """Hash-chained audit log."""
        return self.folder / "audit.jsonl"

    @property
    def flower(self) -> Path:
        """Flower's own folder (``FLWR_HOME``)."""
        return self.folder / "flower"


def read_settings(home: FederationHome) -> FederationSettings:
    """Read ``federation.yaml``.

    Raises:
        FederationStateError: there is no federation in this folder.
        ConfigurationError: a key is unknown, missing or of the wrong type.
    """
    if not home.settings_file.exists():
        raise FederationStateError(
            "there is no federation in this folder",
            where=str(home.folder),
            do="name its folder with --home, or found one: xai-server init NAME --host HOST --sites A,B",
        )
    try:
        content = yaml.safe_load(home.settings_file.read_text())
        known = set(FederationSettings.__dataclass_fields__)
        unknown = set(content) - known
        if unknown:
            raise ConfigurationError(
                f"unknown key '{min(unknown)}'", where=str(home.settings_file), do=f"keys: {', '.join(sorted(known))}"
            )
        return adapter_of(FederationSettings).validate_python(content)
    except (OSError, TypeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(f"cannot read settings: {error}", where=str(home.settings_file)) from error


def write_settings(home: FederationHome, settings: FederationSettings) -> None:
    """Write ``federation.yaml``."""
    write_text(home.settings_file, yaml.safe_dump(asdict(settings), sort_keys=False))
