"""``xai-sim``: several hospitals on one machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from common.command import guarded
from common.configuration import load_run, names
from common.offline import switch_off

app = typer.Typer(
    name="xai-sim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Federated, explainable mammography AI over several simulated hospitals, in one process.",
)

Scenario = Annotated[str, typer.Argument(help="A shipped scenario (`xai-sim scenarios` lists them) or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings, `key=value`.", metavar="[KEY=VALUE]...")]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/SCENARIO.")]
Data = Annotated[Path | None, typer.Option(help="Folder with one sub-folder (manifest.csv) a site.")]
Engine = Annotated[
    str,
    typer.Option(
        help="`in-process`; `flower`: SuperLink, SuperNodes, keys and TLS on loopback; `ray`: Flower's simulation "
        "runtime (package `xai-federation[simulation]`)."
    ),
]


def _guarded(work: Callable[[], str]) -> None:
    guarded(work, "stopped; what was finished is saved (xai-sim resume DIR goes on)")


@app.command()
def run(
    scenario: Scenario,
    overrides: Overrides = None,
    out: Out = None,
    data: Data = None,
    engine: Engine = "in-process",
) -> None:
    """Run a federation from data to report.

    Examples:

        xai-sim run demo

        xai-sim run demo federation.rounds=4 seed=1 --out runs/short

        xai-sim run real --data ../shared/data/sites

        xai-sim run real --data hospitals 'unseen=[TUH]' method=fedprox

        xai-sim run tiny --engine flower

        xai-sim run tiny --engine ray
    """
    folder = out or Path("runs") / Path(scenario).stem

    def work() -> str:
        from simulations.run import start

        return f"report: {start(load_run(scenario, overrides), folder, data, engine)}"

    _guarded(work)


@app.command()
def resume(folder: Annotated[Path, typer.Argument(help="Folder of a run that was killed or failed.")]) -> None:
    """Go on with a run; the result is the one an uninterrupted run gives.

    Example:

        xai-sim resume runs/demo
    """

    def work() -> str:
        from simulations.run import resume as go_on

        return f"report: {go_on(folder)}"

    _guarded(work)


@app.command()
def cross_validate(
    scenario: Scenario,
    overrides: Overrides = None,
    folds: Annotated[int, typer.Option(min=2, max=100, help="Parts of each site's patients, each tested on once.")] = 5,
    out: Out = None,
    data: Data = None,
    engine: Engine = "in-process",
) -> None:
    """Run a scenario once a fold, so that every patient is tested on, and put the figures together.

    Each fold is a run of its own under the folder, with its report. Calling it again goes on where it was stopped.

    Examples:

        xai-sim cross-validate detector-real --data ../shared/data/sites sites=[MIAS] baselines=[]

        xai-sim cross-validate real --data hospitals --folds 10
    """
    folder = out or Path("runs") / f"{Path(scenario).stem}-folds"

    def work() -> str:
        from simulations.cross_validation import cross_validate as go_through

        return f"figures: {go_through(load_run(scenario, overrides), folds, folder, data, engine)}"

    _guarded(work)


@app.command()
def compare(
    scenario: Scenario,
    overrides: Overrides = None,
    methods: Annotated[
        str, typer.Option(help="Rows, with commas; NAME:key=value gives one of them settings of its own.")
    ] = "fedavg,fedprox,silobn,fedbn,feddg-ga",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas; two or more.")] = "0,1,2",
    out: Out = None,
    data: Data = None,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Also train at each unseen site alone, and test there on the rest.")
    ] = False,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Also leave out each training site in turn and test there.")
    ] = False,
    new_patients: Annotated[
        bool, typer.Option("--new-patients", help="Draw other phantom patients for every seed.")
    ] = False,
    folds: Annotated[
        int,
        typer.Option(
            min=1, max=20, help="Parts of a cross-validation by patient; 1: test patients as in the scenario."
        ),
    ] = 1,
    target: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Validation AUC that rounds and bytes are counted to.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trainings at a time. Default: as many as cores.")] = None,
) -> None:
    """Compare methods over seeds on the same patients: tables, paired differences, costs.

    Every training is a run of its own under the folder, with its report, on one thread. Calling it again goes on
    where it was stopped; methods and seeds may be added.

    Examples:

        xai-sim compare shift-appearance --methods fedavg,fedbn,sam --seeds 0,1,2 --oracle

        xai-sim compare demo --methods fedavg,scaffold:training.learning_rate=0.02 --seeds 0,1

        xai-sim compare real --data hospitals --methods fedavg,silobn --leave-one-out --folds 3
    """
    folder = out or Path("runs") / f"{Path(scenario).stem}-comparison"

    def work() -> str:
        from simulations.comparison.compare import compare as go_through
        from simulations.comparison.plan import Asked, read_seeds

        asked = Asked(
            scenario,
            tuple(overrides or ()),
            tuple(item.strip() for item in methods.split(",") if item.strip()),
            read_seeds(seeds),
            oracle,
            leave_one_out,
            new_patients,
            folds,
        )
        baselines = load_run(scenario, overrides).baselines
        return f"comparison: {go_through(asked, folder, data, baselines, jobs or cores(), target)}"

    guarded(work, "stopped; what was finished is saved (the same command goes on)")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


@app.command()
def shift(
    scenario: Scenario,
    overrides: Overrides = None,
    out: Out = None,
    data: Data = None,
    model: Annotated[
        Path | None, typer.Option(help="A published classifier, by whose features the sites are compared too.")
    ] = None,
) -> None:
    """Show how far the sites are apart, of what kind that is, and what to set; nothing is trained.

    Writes `shift.json` and the page `shift.html` into the folder (default: runs/SCENARIO-shift).

    Examples:

        xai-sim shift demo

        xai-sim shift real --data ../shared/data/sites

        xai-sim shift real --data hospitals --model runs/real/model.safetensors
    """
    folder = out or Path("runs") / f"{Path(scenario).stem}-shift"

    def work() -> str:
        from simulations.shift import show_shift

        return show_shift(load_run(scenario, overrides), folder, data, model)

    guarded(work, "stopped")


@app.command()
def data(
    scenario: Scenario,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder to write the sites to.")] = Path("phantom"),
) -> None:
    """Write a scenario's phantom sites as DICOM files with manifests.

    Examples:

        xai-sim data demo --out phantom

        xai-sim data demo phantom.exams=20 phantom.rows=3400 --out native
    """

    def work() -> str:
        from simulations.sources import write_phantom

        return "\n".join(str(path) for path in write_phantom(load_run(scenario, overrides).phantom, out))

    _guarded(work)


@app.command()
def scenarios() -> None:
    """List the shipped scenarios."""
    width = max(map(len, names("simulation")))
    for name in names("simulation"):
        typer.echo(f"{name:{width}}  {load_run(name).description}")


def main() -> None:
    """Entry point of the console script."""
    switch_off()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    app()


if __name__ == "__main__":
    main()
