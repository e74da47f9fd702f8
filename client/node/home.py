"""A site's state folder: what lies where, and ``site.yaml`` with the site's settings and policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import ConfigDict, ValidationError

from client.node.policy import Policy
from common.adapters import adapter_of
from common.errors import ConfigurationError

SETTINGS = "site.yaml"


@dataclass
class SiteSettings:
    """``site.yaml``."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    site: str
    federation: str
    address: str
    """``host:port`` of the coordinator."""
    data: str
    """Folder with ``manifest.csv``; relative to the folder of ``site.yaml``."""
    code: str
    """SHA-256 of the program this site has accepted."""
    cache_gb: float = 50.0
    """Most that prepared images may take, GB."""
    health: str = ""
    """``host:port`` on which the node answers gRPC health checks; empty = none."""
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True)
class SiteHome:
    """Paths inside a site's state folder."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """``site.yaml``."""
        return self.folder / SETTINGS

    @property
    def key(self) -> Path:
        """Secret: the site's identity."""
        return self.folder / "keys" / "node.key"

    @property
    def executor_secret(self) -> Path:
        """Secret between SuperNode and executor."""
        return self.folder / "keys" / "executor.secret"

    @property
    def authority(self) -> Path:
        """Certificate of the federation's authority, out of the kit."""
        return self.folder / "ca.pem"

    @property
    def lock(self) -> Path:
        """Held by the running node."""
        return self.folder / "node.lock"

    @property
    def status_file(self) -> Path:
        """What the node does: written by the supervisor."""
        return self.folder / "status.json"

    @property
    def activity_file(self) -> Path:
        """What the executor does."""
        return self.folder / "activity.json"

    @property
    def readiness_file(self) -> Path:
        """What the last examination of the data found."""
        return self.folder / "reports" / "readiness.json"

    @property
    def accepted_file(self) -> Path:
        """Findings that the site has accepted."""
        return self.folder / "accepted-findings.json"

    @property
    def connected_file(self) -> Path:
        """There while the SuperNode is let in."""
        return self.folder / "connected"

    @property
    def refused_file(self) -> Path:
        """Why the coordinator did not let the SuperNode in."""
        return self.folder / "refused"

    @property
    def audit(self) -> Path:
        """Hash-chained audit log."""
        return self.folder / "audit.jsonl"

    @property
    def logs(self) -> Path:
        """Output of the node's processes."""
        return self.folder / "log"

    @property
    def flower(self) -> Path:
        """Flower's own folder (``FLWR_HOME``)."""
        return self.folder / "flower"

    def data(self, settings: SiteSettings) -> Path:
        """The site's data folder."""
        return (self.folder / settings.data).resolve()


def read_settings(home: SiteHome) -> SiteSettings:
    """Read ``site.yaml``.

    Raises:
        ConfigurationError: missing, or a key is unknown, missing or of the wrong type.
    """
    path = home.settings_file
    if not path.exists():
        raise ConfigurationError(
            "this site is not enrolled", where=str(path), do="xai-client enrol KIT --site SITE --data FOLDER"
        )
    try:
        settings = adapter_of(SiteSettings).validate_python(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{key}: {first['msg']}", where=str(path), do="see docs/hospital.md") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read site.yaml: {error}", where=str(path), do="mend the YAML") from error
    settings.policy.check_itself(str(path))
    return settings
