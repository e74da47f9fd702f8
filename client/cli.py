"""``xai-client``: a hospital's node, and what makes its archive ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client import adapt_command
from client.explanation.case import commands as case
from client.node import commands as node
from client.preflight import commands as preflight
from common.command import guarded
from common.offline import switch_off

app = typer.Typer(
    name="xai-client",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

node.register(app)
preflight.register(app)
case.register(app)
adapt_command.register(app)


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
        from common.names import check_name

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


if __name__ == "__main__":
    main()
