"""``xai-server``: not built yet; says which issue of the roadmap brings it."""

from __future__ import annotations

import typer

from common.offline import switch_off

app = typer.Typer(
    name="xai-server",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The coordinator's commands. They arrive with issue 4 of the roadmap in README.md. Today the same ServerApp "
    "runs inside xai-sim: see 'xai-sim run --help'.",
)


@app.callback(invoke_without_command=True)
def coordinator(context: typer.Context) -> None:
    """Show the help; there is no command yet."""
    typer.echo(context.get_help())


def main() -> None:
    """Entry point of the console script."""
    switch_off()
    app()
