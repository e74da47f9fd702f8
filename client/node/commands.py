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


def ledger(
    context: typer.Context,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of the next run, `key=value`.", metavar="[KEY=VALUE]...")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Settings of the next run: its config.yaml, or a scenario. Default: the defaults."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check the chain, and its end against the audit log.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; progress goes to standard error.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take a ledger whose end does not fit the audit log as it is; logged.")
    ] = False,
) -> None:
    """Show the patients' privacy budget: spent and left per data set and run, and what the next run would cost.

    Examples:

        xai-client --site TUH ledger

        xai-client --site TUH ledger --run config.yaml

        xai-client --site TUH ledger privacy.unit=patient privacy.epsilon=8 federation.rounds=30 model.norm=group
    """
    chosen: Chosen = context.obj

    def work() -> str:
        return _ledger(chosen, run, overrides or [], verify=verify, as_json=as_json, accept=accept)

    guarded(work, "stopped; nothing was spent", as_json)


def _ledger(
    chosen: Chosen, settings_of: str | None, overrides: list[str], *, verify: bool, as_json: bool, accept: bool
) -> str:
    from client.node import ledger as words
    from client.node.home import SiteHome, read_settings
    from client.node.policy import Policy
    from client.privacy.ledger import accept as take_as_it_is
    from common.configuration import load_run_settings
    from common.errors import ConfigurationError

    asks = settings_of is not None or bool(overrides)
    if verify + accept + asks > 1:
        raise ConfigurationError("--verify, --accept and settings of a run exclude each other", do="give one")
    site, home = chosen.on_disk(), SiteHome(chosen.folder())
    if accept:
        return f"accepted, and the audit log says so; last hash {take_as_it_is(site.state)}"
    if verify:
        return words.verified(site)
    policy = read_settings(home).policy if home.settings_file.exists() else Policy()
    following = words.next_run(site, policy, load_run_settings(settings_of, overrides)) if asks else None
    return words.record(site, policy, following) if as_json else words.describe(site, policy, following)


def register(app: typer.Typer) -> None:
    """Put the node's commands onto ``xai-client``."""
    app.callback(invoke_without_command=True)(choose)
    for command in (enrol, status, pin, audit, ledger):
        app.command()(command)
