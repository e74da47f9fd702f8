"""The options before a command of ``xai-client``: which site, and where its things lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from client.site import Site

SITES, HOSPITALS = Path("sites"), Path("hospitals")


@dataclass(frozen=True)
class Chosen:
    """Options before the command."""

    site: str
    state: Path | None

    def folder(self) -> Path:
        """The site's state folder.

        Raises:
            ConfigurationError: no site was named.
        """
        if self.state is not None:
            return self.state
        if not self.site:
            raise ConfigurationError("which site?", do="name it before the command: xai-client --site TUH ...")
        return SITES / self.site

    def on_disk(self, data: Path | None = None) -> Site:
        """The site as ``site.yaml`` describes it; before enrolment with its data in ``hospitals/SITE``.

        Args:
            data: another data folder, or a manifest.

        Raises:
            ConfigurationError: no site was named, or ``site.yaml`` cannot be understood.
        """
        from client.node.home import SiteHome, read_settings
        from client.site import Site
        from common.names import check_name

        home = SiteHome(self.folder())
        if home.settings_file.exists():
            settings = read_settings(home)
            return Site(settings.site, data or home.data(settings), home.folder.resolve(), settings.cache_gb)
        name = check_name(self.site or home.folder.name)
        return Site(name, data or HOSPITALS / name, home.folder)
