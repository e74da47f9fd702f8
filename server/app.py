"""The coordinator's Flower ServerApp: one run, from a run folder with ``config.yaml`` to its report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid, ServerApp

from common import progress
from common.atomic import write_text
from common.configuration import read_run, task_of, to_yaml
from common.errors import ConfigurationError, WireError
from common.models.network import build_network
from common.models.parameter_groups import relative_rates
from common.parameters import trained_names
from common.protocol import DescribeTask, SiteDescription
from common.wire import encode
from server.admission import described_by
from server.agreement import require_agreement
from server.checkpoint import saved_rounds
from server.exchange import exchange, required, wait_for_quorum
from server.harmonisation import with_scale
from server.history import Quarantined, read_history
from server.identity import identity
from server.initial import initial_model
from server.publish import publish
from server.report.model_card import write_model_card
from server.report.report import write_report
from server.rounds import Federation, run_rounds
from server.summary import write_summary

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run or resume the federation whose folder ``context.run_config["run-folder"]`` names."""
    folder = context.run_config.get("run-folder")
    if not isinstance(folder, str):
        raise ConfigurationError("the run configuration lacks 'run-folder'", do="start runs through xai-sim")
    run(grid, Path(folder))


def run(grid: Grid, folder: Path) -> None:
    """Run or resume the federation configured in ``folder/config.yaml``; every result is written there.

    Raises:
        XaiFederationError: by name; whatever was finished before is saved and can be resumed.
    """
    federate(grid, folder)
    write_results(folder)


def federate(grid: Grid, folder: Path) -> None:
    """The same, but for what :func:`write_results` writes: a simulation has more to tell than the federation.

    Raises:
        XaiFederationError: by name.
    """
    config = read_run(folder / "config.yaml")
    begun = bool(saved_rounds(folder))
    model = build_network(config, seed=config.seed) if begun else initial_model(config)
    federation = Federation(
        grid,
        config,
        folder,
        trained_names(model, config.method.shared_parameters),
        relative_rates(model, config.training),
        identity(folder),
    )
    federation.left_out = describe_sites(federation)
    federation = with_scale(federation)
    records = run_rounds(federation, dict(model.state_dict()))
    publish(federation, records)


def write_results(folder: Path) -> None:
    """Write summary, report and model card from what lies in the run folder."""
    write_summary(folder, read_run(folder / "config.yaml"), read_history(folder / "rounds.jsonl"))
    write_report(folder)
    write_model_card(folder)


def describe_sites(federation: Federation) -> list[Quarantined]:
    """Ask every site for its counts, write ``sites.json``, and see that all run the same program.

    Returns the sites whose policy forbids the run, where there are enough others.

    Raises:
        DisagreementError: they do not, or a site's policy forbids the run.
    """
    config, limits = federation.config, federation.config.federation
    everyone = [*config.sites, *config.unseen]
    nodes = wait_for_quorum(federation.grid, everyone, limits.quorum, limits.joining_seconds, limits.deadline_seconds)
    task = to_yaml(task_of(config))

    def content(site: str) -> RecordDict:
        return encode(DescribeTask(task, 0 if site in config.unseen else limits.rounds, federation.identity))

    described: dict[str, dict[str, Any]] = {
        site: {"role": "unseen" if site in config.unseen else "train"} for site in everyone
    }
    answers: dict[str, SiteDescription | WireError] = {}
    for site, reply in exchange(federation.grid, nodes, content, "query.describe", "0", limits.deadline_seconds):
        try:
            answers[site] = description = described_by(reply, config.privacy.unit)
            described[site] |= asdict(description)
        except WireError as error:
            answers[site] = error
            progress.say(f"{site} does not describe itself: {error.what}")
    write_text(federation.folder / "sites.json", json.dumps(described, indent=1))
    boxes = config.sites if config.task == "detector" else ()
    left_out = require_agreement(answers, boxes, config.sites, required(limits.quorum, len(config.sites)))
    for site, found in answers.items():
        if isinstance(found, SiteDescription) and found.planned:
            spent = found.planned
            progress.say(
                f"{site:12} the whole run costs epsilon {spent.epsilon:.3g} at delta {spent.delta:.2g} per {spent.unit}"
            )
    for item in left_out:
        progress.say(f"{item.site:12} is left out, its policy forbids the run: {item.meaning}")
    return left_out
