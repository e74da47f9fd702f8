"""The node's commands of ``xai-client``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.chosen import Chosen
from common.command import guarded


def choose(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Name of the site, e.g. TUH.")] = "",
    state: Annotated[Path | None, typer.Option(help="The site's state folder. Default: sites/SITE.")] = None,
    accept_findings: Annotated[
        bool, typer.Option("--accept-findings", help="Start although the data are not fit for training; remembered.")
    ] = False,
) -> None:
    """A hospital's node. Without a command: look at the data, connect to the coordinator, stay, answer its requests.

    Example:

        xai-client --site TUH
    """
    context.obj = Chosen(site, state)
    if context.invoked_subcommand is None:
        _serve(context.obj, accept_findings)


def _serve(chosen: Chosen, accept_findings: bool) -> None:
    def work() -> str:
        from client.node.home import SiteHome
        from client.node.supervisor import run_node
        from common.processes import die_with_parent
        from common.stopping import stop_on_signals

        die_with_parent()
        run_node(SiteHome(chosen.folder()), stop_on_signals(), accept_findings=accept_findings)
        return "stopped"

    guarded(work, "stopped")


def enrol(
    context: typer.Context,
    kit: Annotated[Path, typer.Argument(help="The startup kit that the coordinator sent.")],
    site: Annotated[str, typer.Option(help="Name of the site; it must be the kit's.")] = "",
    data: Annotated[Path | None, typer.Option(help="Folder with manifest.csv. Default: hospitals/SITE.")] = None,
    state: Annotated[Path | None, typer.Option(help="The site's state folder. Default: sites/SITE.")] = None,
) -> None:
    """Make this site's key, here, and a request for admission to send to the coordinator.

    Example:

        xai-client enrol TUH.kit.yaml --site TUH --data hospitals/TUH
    """
    before: Chosen = context.obj
    chosen = Chosen(site or before.site, state or before.state)

    def work() -> str:
        from client.node.enrolment import enrol as make
        from client.node.home import SiteHome

        home = SiteHome(chosen.folder())
        name = chosen.site or home.folder.name
        folder = data or Path(typer.prompt("Folder with manifest.csv", default=str(Path("hospitals") / name)))
        request, file = make(kit, name, folder, home)
        return (
            f"settings     {home.settings_file}\nrequest      {file}\nfingerprint  {request.fingerprint}\n"
            "Send the request to the coordinator and read the fingerprint out over the telephone. "
            f"Then: xai-client --site {name}"
        )

    guarded(work, "stopped")


def status(context: typer.Context) -> None:
    """Say what the node is doing. Ends with 0 when it is connected, else with 1."""

    def work() -> str:
        from client.node.home import SiteHome, read_settings
        from client.node.status import describe, read_status

        home = SiteHome(context.obj.folder())
        settings = read_settings(home)
        found = read_status(home)
        line = describe(found) if found else "not running"
        if found is None or found.state != "connected":
            typer.echo(f"{settings.site}: {line}")
            raise typer.Exit(1)
        return f"{settings.site}: {line}"

    guarded(work, "stopped")


def pin(context: typer.Context) -> None:
    """Accept the installed program after an update that you meant."""

    def work() -> str:
        from client.node.enrolment import pin as accept
        from client.node.home import SiteHome

        return f"accepted: {accept(SiteHome(context.obj.folder()))}"

    guarded(work, "stopped")


def audit(
    context: typer.Context,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the chain.")] = False,
) -> None:
    """Check the chain of the audit log, and print who asked what, what left, and how many bytes."""

    def work() -> str:
        from client.node.home import SiteHome, read_settings
        from common.audit import lines, read

        home = SiteHome(context.obj.folder())
        read_settings(home)
        shown = lines(read(home.audit))
        return shown[-1] if verify else "\n".join(shown)

    guarded(work, "stopped")


def register(app: typer.Typer) -> None:
    """Put the node's commands onto ``xai-client``."""
    app.callback(invoke_without_command=True)(choose)
    for command in (enrol, status, pin, audit):
        app.command()(command)
