"""``xai-client check`` and ``xai-client cache``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.chosen import Chosen
from common.command import guarded
from common.errors import ConfigurationError, PreflightError

if TYPE_CHECKING:
    from client.site import Site


def check(
    context: typer.Context,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of the run, `key=value`.", metavar="[KEY=VALUE]...")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with manifest.csv, or a CSV file. Default: the site's data folder.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Be ready for this run: its config.yaml, or a scenario. Default: the defaults.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; progress goes to standard error.")] = False,
) -> None:
    """Look at the manifest and at every image before anything trains: what will be used, what not, and why.

    Counts come to the terminal. File names and pictures go to a page in the site's state folder and nowhere else.
    Ends with 0 when training can start, with 40 when a finding stops it. An interrupted check goes on where it stopped.

    Examples:

        xai-client --site TUH check

        xai-client --site TUH check --data hospitals/TUH --run real

        xai-client --site TUH check --json imaging.spacing_mm=0.4
    """
    chosen: Chosen = context.obj

    def work() -> str:
        return _check(chosen.on_disk(data), run, overrides or [], as_json)

    guarded(work, "stopped; images looked at so far are kept, the next check goes on from there", as_json)


def _check(site: Site, settings_of: str | None, overrides: list[str], as_json: bool) -> str:
    """Check a site and return what is to be printed.

    Raises:
        PreflightError: an error was found; what was found is printed before.
        XaiFederationError: the check itself could not be made, by name.
    """
    from client.preflight.check import check, record
    from client.preflight.finding import Severity
    from client.preflight.summary import describe
    from common.configuration import load_task

    result = check(site, load_task(settings_of, overrides))
    text = json.dumps(record(result), indent=1) if as_json else describe(result)
    if result.ready:
        return text
    typer.echo(text)
    errors = [item for item in result.findings if item.severity is Severity.ERROR]
    raise PreflightError(
        f"site {site.name} is not ready: " + "; ".join(item.headline for item in errors),
        where=str(result.report),
        do="the report lists every file; correct them and check again",
    )


def cache(
    context: typer.Context,
    info: Annotated[bool, typer.Option("--info", help="Say what is in it (the default).")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Delete it; it is made anew when needed.")] = False,
) -> None:
    """Look at the site's prepared images, or delete them. They come from patients' images: protect them like these.

    Examples:

        xai-client --site TUH cache --info

        xai-client --site TUH cache --clear
    """
    chosen: Chosen = context.obj

    def work() -> str:
        from client.cache_report import clear_cache, describe_cache

        if info and clear:
            raise ConfigurationError("--info and --clear exclude each other", where="command line", do="give one")
        folder = chosen.on_disk().cache
        return clear_cache(folder) if clear else describe_cache(folder)

    guarded(work, "stopped; what was deleted is made anew when needed")


def register(app: typer.Typer) -> None:
    """Put the commands onto ``xai-client``."""
    for command in (check, cache):
        app.command()(command)
