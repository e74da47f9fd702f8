"""``xai-server``: the coordinator of a federation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from common.command import guarded
from common.offline import switch_off

app = typer.Typer(
    name="xai-server",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Found a federation, admit hospitals, serve them and train with them. The whole way: docs/coordinator.md.",
)

Home = Annotated[Path, typer.Option(help="The federation's folder.", envvar="XAI_FEDERATION")]
HOME = Path("federation")
Name = Annotated[str, typer.Argument(help="A run; `xai-server runs` lists them.")]


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the federation.")],
    host: Annotated[str, typer.Option(help="Name or address under which hospitals reach this machine.")],
    sites: Annotated[str, typer.Option(help="Names of the hospitals, e.g. MCS,TUH.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port for hospitals.")] = 8443,
    listen: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    home: Home = HOME,
) -> None:
    """Found a federation: certificates, settings, and a startup kit for each hospital.

    Example:

        xai-server init miyagi --host fl.example.org --sites MCS,TUH
    """

    def work() -> str:
        from server.federation.founding import found
        from server.federation.home import FederationHome, FederationSettings

        names = [site.strip() for site in sites.split(",") if site.strip()]
        kits = found(FederationHome(home), FederationSettings(name, host, port, listen, names))
        lines = [f"  {kit}" for kit in kits]
        return "\n".join(
            [
                "send each hospital its startup kit (nothing in it is secret):",
                *lines,
                f"then: xai-server start --home {home}",
            ]
        )

    guarded(work, "stopped")


@app.command()
def kit(sites: Annotated[list[str], typer.Argument(help="Hospitals.")], home: Home = HOME) -> None:
    """Make startup kits for further hospitals, or make their kits anew."""

    def work() -> str:
        from server.federation.founding import add_sites
        from server.federation.home import FederationHome

        return "\n".join(str(path) for path in add_sites(FederationHome(home), sites))

    guarded(work, "stopped")


@app.command()
def enrol(
    request: Annotated[Path, typer.Argument(help="What `xai-client enrol` wrote at the hospital.")],
    fingerprint: Annotated[str, typer.Option(help="As the hospital read it out; asked for if not given.")] = "",
    home: Home = HOME,
) -> None:
    """Admit a hospital's key after comparing its fingerprint, over the telephone, with the hospital.

    Example:

        xai-server enrol TUH.request.yaml
    """

    def work() -> str:
        from common.enrolment import Request
        from server.federation.home import FederationHome
        from server.federation.registry import admit

        def confirmed(wanted: Request) -> bool:
            if fingerprint:
                return fingerprint == wanted.fingerprint
            typer.echo(f"site         {wanted.site}\nfingerprint  {wanted.fingerprint}")
            return typer.confirm(f"Does {wanted.site} read out the same fingerprint?")

        site = admit(FederationHome(home), request, confirmed)
        return f"{site.site} is admitted; a running server lets it in within seconds"

    guarded(work, "stopped; nothing was admitted")


@app.command()
def sites(
    revoke: Annotated[str, typer.Option(help="Withdraw the key of this hospital, for ever.")] = "", home: Home = HOME
) -> None:
    """List the hospitals: state, since when, program, fingerprint. Or withdraw the key of one."""

    def work() -> str:
        from server.federation.home import FederationHome, read_settings
        from server.federation.registry import revoke as withdraw
        from server.federation.roll import overview

        place = FederationHome(home)
        settings = read_settings(place)
        if revoke:
            withdrawn = withdraw(place, revoke)
            return f"{revoke}: key {withdrawn.fingerprint} is withdrawn; a running server shuts it out within seconds"
        return "\n".join(overview(place, settings)) or "no sites; make a kit: xai-server kit SITE"

    guarded(work, "stopped")


@app.command()
def renew(
    host: Annotated[str, typer.Option(help="For another name or address; settings and kits follow.")] = "",
    home: Home = HOME,
) -> None:
    """Sign a new server certificate. Hospitals need nothing new, except after a change of host a new kit."""

    def work() -> str:
        from server.federation import founding
        from server.federation.certificates import SERVER_DAYS
        from server.federation.home import FederationHome, read_settings, write_settings

        place = FederationHome(home)
        settings = read_settings(place)
        settings.host = founding.check_host(host or settings.host)
        founding.renew(place, settings.host)
        write_settings(place, settings)
        if host:
            founding.add_sites(place, settings.sites)
        return f"certificate for {settings.host}, valid {SERVER_DAYS} days; restart the server to use it"

    guarded(work, "stopped")


@app.command()
def start(home: Home = HOME) -> None:
    """Serve the federation until stopped with Ctrl-C or SIGTERM. Sample systemd unit: deploy/."""

    def work() -> str:
        from common.processes import die_with_parent
        from common.stopping import stop_on_signals
        from server.federation.daemon import run_server
        from server.federation.home import FederationHome

        die_with_parent()
        run_server(FederationHome(home), stop_on_signals())
        return "stopped; runs go on when the server is started again"

    guarded(work, "stopped")


@app.command()
def train(
    settings: Annotated[list[str] | None, typer.Argument(help="`key=value`.", metavar="[KEY=VALUE]...")] = None,
    scenario: Annotated[str, typer.Option(help="Shipped scenario or YAML file that the settings change.")] = "real",
    name: Annotated[str, typer.Option(help="Name of the run. Default: its time.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; `xai-server show` tells more.")] = False,
    home: Home = HOME,
) -> None:
    """Start a training run and show its progress. The run goes on when this terminal is closed.

    Besides every setting of docs/configuration.md: `rounds`, `deadline`, `joining`, `sites=A,B`, `unseen=C`, and
    `quorum` as a share or a number of sites.

    Example:

        xai-server train task=classifier method=fedavg rounds=20 sites=MCS,TUH quorum=2
    """

    def work() -> str:
        from server.federation.home import FederationHome, read_settings
        from server.federation.orders import run_config
        from server.federation.registry import in_force, read_sites
        from server.federation.runs import new_run
        from server.initial import initial_model

        place = FederationHome(home)
        read_settings(place)
        config = run_config(scenario, settings or [], in_force(read_sites(place)))
        initial_model(config)  # a network or weights file that cannot be had shows now, not in the server's log
        run = new_run(place, name or time.strftime("%Y-%m-%d-%H%M%S"), config)
        typer.echo(f"run {run.name} is ordered")
        return "" if detach else _follow(place.folder, run.name)

    guarded(work, "the run goes on without this terminal (xai-server show, xai-server stop)")


@app.command()
def shift(
    settings: Annotated[list[str] | None, typer.Argument(help="`key=value`.", metavar="[KEY=VALUE]...")] = None,
    scenario: Annotated[str, typer.Option(help="Shipped scenario or YAML file that the settings change.")] = "real",
    model: Annotated[
        Path | None, typer.Option(help="A published classifier, by whose features the sites are compared too.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of its folder among the runs. Default: shift and the time.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; `xai-server show` tells more.")] = False,
    home: Home = HOME,
) -> None:
    """Show how far the connected hospitals are apart, of what kind that is, and what to set; nothing is trained.

    The running server asks them, after the runs that were ordered before. `shift.json` and the page `shift.html` lie
    in `runs/NAME`; they also name who did not answer, and why. Settings as of `train`: `sites=A,B`, `deadline`,
    `joining`, and how images are prepared (`imaging...`; with `--model` as the model's are).

    Examples:

        xai-server shift

        xai-server shift sites=MCS,TUH joining=10

        xai-server shift --model federation/runs/first/model.safetensors
    """

    def work() -> str:
        from server.federation.home import FederationHome, read_settings
        from server.federation.orders import survey_config
        from server.federation.registry import in_force, read_sites
        from server.federation.runs import new_survey

        place = FederationHome(home)
        read_settings(place)
        config = survey_config(scenario, settings or [], in_force(read_sites(place)))
        if model is not None:
            from common.models.published import read_published

            read_published(model)  # what is no model shows now, not in the server's log
        run = new_survey(place, name or time.strftime("shift-%Y-%m-%d-%H%M%S"), config, model)
        typer.echo(f"survey {run.name} is ordered")
        return "" if detach else _follow(place.folder, run.name)

    guarded(work, "the survey goes on without this terminal (xai-server show, xai-server stop)")


@app.command()
def runs(home: Home = HOME) -> None:
    """List the runs, oldest first."""

    def work() -> str:
        from server.federation.home import FederationHome, read_settings
        from server.federation.runs import all_runs
        from server.federation.watching import overview

        place = FederationHome(home)
        read_settings(place)
        return "\n".join(overview(run) for run in all_runs(place)) or "no runs yet"

    guarded(work, "stopped")


@app.command()
def show(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", help="Stay and show what comes.")] = False,
    home: Home = HOME,
) -> None:
    """Show a run: its state, the last round's sites, the end of its progress."""

    def work() -> str:
        from server.federation.home import FederationHome
        from server.federation.runs import find_run
        from server.federation.watching import ending, overview, table, tail
        from server.history import read_history

        run = find_run(FederationHome(home), name)
        if follow:
            return _follow(home, name)
        records = read_history(run.folder / "rounds.jsonl")
        lines = [overview(run), *tail(run), *(table(records[-1]) if records else ())]
        return "\n".join([*lines, ending(run, run.state)] if run.state.state == "finished" else lines)

    guarded(work, "the run goes on")


@app.command()
def stop(name: Name, home: Home = HOME) -> None:
    """Stop a run; what was done is kept."""

    def work() -> str:
        from server.federation.home import FederationHome
        from server.federation.runs import stop as give

        give(FederationHome(home), name)
        return f"run {name} is told to stop; go on with it: xai-server resume {name}"

    guarded(work, "stopped")


@app.command()
def resume(
    name: Name,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once.")] = False,
    home: Home = HOME,
) -> None:
    """Go on with a run that was paused, stopped or failed, after its last checkpoint."""

    def work() -> str:
        from server.federation.home import FederationHome
        from server.federation.runs import resume as give

        give(FederationHome(home), name)
        return f"run {name} is ordered again" if detach else _follow(home, name)

    guarded(work, "the run goes on without this terminal")


@app.command()
def audit(home: Home = HOME) -> None:
    """Check the chain of the audit log and print it."""

    def work() -> str:
        from common.audit import lines, read
        from server.federation.home import FederationHome, read_settings

        place = FederationHome(home)
        read_settings(place)
        return "\n".join(lines(read(place.audit)))

    guarded(work, "stopped")


def _follow(home: Path, name: str) -> str:
    from server.federation.home import FederationHome
    from server.federation.runs import find_run
    from server.federation.watching import exit_code, follow

    place = FederationHome(home)
    run, last = find_run(place, name), ""
    for line in follow(place, run):
        if last:
            typer.echo(last)
        last = line
    if code := exit_code(run):
        typer.echo(last, err=True)
        raise typer.Exit(code)
    return last


def main() -> None:
    """Entry point of the console script."""
    switch_off()
    app()


if __name__ == "__main__":
    main()
