"""``xai-client``: not built yet; says which issue of the roadmap brings it."""

from __future__ import annotations

import typer

from common.offline import switch_off

app = typer.Typer(
    name="xai-client",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A hospital's node. It arrives with issue 4 of the roadmap in README.md (preflight: issue 3, privacy "
    "ledger: issue 7). Today the same ClientApp runs inside xai-sim: see 'xai-sim run --help'.",
)


@app.callback(invoke_without_command=True)
def node(context: typer.Context) -> None:
    """Show the help; there is no command yet."""
    typer.echo(context.get_help())


def main() -> None:
    """Entry point of the console script."""
    switch_off()
    app()
