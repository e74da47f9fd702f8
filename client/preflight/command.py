"""``xai-client check``: from the site's folders to lines on the terminal or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from client.preflight.check import check, record
from client.preflight.finding import Severity
from client.preflight.summary import describe
from client.site import Site
from common.configuration import load_task
from common.errors import PreflightError


def run_check(site: Site, settings_of: str | None, overrides: list[str], as_json: bool) -> str:
    """Check a site and return what is to be printed.

    Raises:
        PreflightError: an error was found; what was found is printed before.
        XaiFederationError: the check itself could not be made, by name.
    """
    result = check(site, load_task(settings_of, overrides))
    text = json.dumps(record(result), indent=1) if as_json else describe(result)
    if result.ready:
        return text
    typer.echo(text)
    errors = [item for item in result.findings if item.severity is Severity.ERROR]
    raise PreflightError(
        f"site {site.name} is not ready: " + "; ".join(item.headline for item in errors),
        where=str(Path(result.report)),
        do="the report lists every file; correct them and check again",
    )
