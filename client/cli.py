"""``xai-client``: a hospital's node. Today it imports and checks archives; issue 4 of the roadmap connects it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.command import guarded
from common.offline import switch_off

if TYPE_CHECKING:
    from client.site import Site

app = typer.Typer(
    name="xai-client",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="A hospital's node. It connects to a coordinator with issue 4 of the roadmap in README.md; today it makes an "
    "archive ready and checks it, and xai-sim runs the same ClientApp on it (`xai-sim run real --data DIR`).",
)


@dataclass(frozen=True)
class _Node:
    """Options before the command."""

    site: str | None


@app.callback()
def options(
    context: typer.Context,
    site: Annotated[str | None, typer.Option(help="Name of the site, e.g. TUH.")] = None,
) -> None:
    """Options before the command are for all commands that work on a site."""
    context.obj = _Node(site)


Data = Annotated[Path | None, typer.Option(help="The site's data folder. Default: hospitals/SITE.")]
State = Annotated[Path | None, typer.Option(help="What this software keeps of the site. Default: sites/SITE.")]
CacheLimit = Annotated[float, typer.Option(help="Most that prepared images may take, GB.", min=0.001)]


def _site(context: typer.Context, data: Path | None, state: Path | None, cache_gb: float) -> Site:
    """The site that ``--site`` names.

    Raises:
        ConfigurationError: no name, or one that cannot be a site's.
    """
    from client.site import Site, check_name
    from common.errors import ConfigurationError

    node = context.find_object(_Node)
    name = node.site if node else None
    if name is None:
        raise ConfigurationError(
            "no site is named", where="command line", do=f"write xai-client --site NAME {context.info_name}"
        )
    check_name(name)
    return Site(name, data or Path("hospitals") / name, state or Path("sites") / name, cache_gb)


@app.command("check")
def check_command(
    context: typer.Context,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of the run, `key=value`.", metavar="[KEY=VALUE]...")
    ] = None,
    data: Data = None,
    state: State = None,
    run: Annotated[
        str | None, typer.Option(help="Be ready for this run: its config.yaml, or a scenario. Default: the defaults.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; progress goes to standard error.")] = False,
    cache_gb: CacheLimit = 50.0,
) -> None:
    """Look at the manifest and at every image before anything trains: what will be used, what not, and why.

    Counts come to the terminal. File names and pictures go to a page in the site's state folder and nowhere else.
    Ends with 0 when training can start, with 40 when a finding stops it. An interrupted check goes on where it stopped.

    Examples:

        xai-client --site TUH check

        xai-client --site TUH check --data hospitals/TUH --run real

        xai-client --site TUH check --json imaging.spacing_mm=0.4
    """

    def work() -> str:
        from client.preflight.command import run_check

        return run_check(_site(context, data, state, cache_gb), run, overrides or [], as_json)

    guarded(work, "stopped; images looked at so far are kept, the next check goes on from there", as_json)


@app.command("cache")
def cache_command(
    context: typer.Context,
    state: State = None,
    info: Annotated[bool, typer.Option("--info", help="Say what is in it (the default).")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Delete it; it is made anew when needed.")] = False,
) -> None:
    """Look at the site's prepared images, or delete them. They come from patients' images: protect them like these.

    Examples:

        xai-client --site TUH cache --info

        xai-client --site TUH cache --clear
    """

    def work() -> str:
        from client.cache_report import clear_cache, describe_cache
        from common.errors import ConfigurationError

        if info and clear:
            raise ConfigurationError("--info and --clear exclude each other", where="command line", do="give one")
        folder = _site(context, None, state, 50.0).cache
        return clear_cache(folder) if clear else describe_cache(folder)

    guarded(work, "stopped; what was deleted is made anew when needed")


@app.command("import")
def import_command(
    source: Annotated[str, typer.Option(help="What the archive is: `xai-client sources` lists them.")],
    archive: Annotated[Path, typer.Option("--from", help="The archive's folder. It is only read.")],
    site: Annotated[str, typer.Option(help="Name of the site, e.g. TUH.")],
    out: Annotated[Path | None, typer.Option(help="The site's data folder. Default: hospitals/SITE.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a manifest that is there and differs.")] = False,
) -> None:
    """Write the manifest of an archive: a manifest of your own, or a public data set.

    Images stay where they are. What is not imported is counted here and listed in left-out.csv.

    Examples:

        xai-client import --source cbis-ddsm --from downloads/CBIS-DDSM --site CBIS

        xai-client import --source manifest --from export/2025.csv --site TUH --out hospitals/TUH --replace
    """

    def work() -> str:
        from client.importing import describe, import_site
        from client.site import check_name

        return describe(import_site(source, archive, check_name(site), out or Path("hospitals") / site, replace))

    guarded(work, "stopped; an earlier manifest is as it was")


@app.command()
def sources() -> None:
    """List the kinds of archive that can be imported: what must lie where, and what their labels mean."""
    from common.data.sources import SOURCES

    for name, item in SOURCES.items():
        typer.echo(f"{name}: {item.title}\n  folder: {item.layout}\n  labels: {item.labels}\n")


def main() -> None:
    """Entry point of the console script."""
    switch_off()
    app()
