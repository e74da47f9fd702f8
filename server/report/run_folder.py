"""Reads a finished run folder into typed records; says which file is missing or damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from common.adapters import adapter_of
from common.configuration import RunConfig, read_run
from common.errors import CheckpointError
from common.protocol import Estimate, EvaluationReport, PrivacySpent
from server.history import Quarantined, RoundRecord

Record = TypeVar("Record")


@dataclass(frozen=True)
class Evaluation:
    """``evaluation.json``: the chosen model on every site's test patients."""

    round: int
    rule: str
    prior_log_odds: float = 0.0
    sites: dict[str, EvaluationReport] = field(default_factory=dict)
    unseen: dict[str, EvaluationReport] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    """Replies to the last question that were no good."""


@dataclass(frozen=True)
class FrocBaselines:
    """Sensitivity per lesion of detectors trained without federation, by rate of false positives, and ``mean``."""

    local: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    """Trained on, then tested on."""
    pooled: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    """Tested on."""


@dataclass(frozen=True)
class Baselines:
    """``baselines.json``: AUC of models trained without federation, and of detectors what their FROC curves say."""

    local: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    """Trained on, then tested on."""
    pooled: dict[str, Estimate] = field(default_factory=dict)
    """Tested on."""
    froc: FrocBaselines | None = None


@dataclass(frozen=True)
class SplitCounts:
    """Size of one split."""

    patients: int = 0
    breasts: int = 0
    malignant: int = 0


@dataclass(frozen=True)
class SiteData:
    """One entry of ``sites.json``: what a site brought."""

    role: Literal["train", "unseen"]
    patients: int = 0
    breasts: int = 0
    images: int = 0
    malignant: int = 0
    benign: int = 0
    normal: int = 0
    views: dict[str, int] = field(default_factory=dict)
    boxes: str = "unknown"
    skipped: int = 0
    inverted: int = 0
    splits: dict[str, SplitCounts] = field(default_factory=dict)
    planned: PrivacySpent | None = None
    """What the whole run was to cost its patients."""
    source: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class Picture:
    """One entry of a site's ``gallery.json``."""

    file: str
    label: str
    score: float | None
    outcome: str
    view: str
    pointing: bool | None = None
    boxes: int | None = None


@dataclass(frozen=True)
class Summary:
    """The parts of ``summary.json`` that stand nowhere else."""

    seconds: dict[str, float] = field(default_factory=dict)
    privacy: dict[str, PrivacySpent] = field(default_factory=dict)
    central_privacy: PrivacySpent | None = None


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    config: RunConfig
    rounds: list[RoundRecord]
    evaluation: Evaluation
    sites: dict[str, SiteData]
    baselines: Baselines | None
    summary: Summary
    galleries: dict[str, list[Picture]]

    def trained(self) -> list[str]:
        """Names of the training sites that took part, in the order of ``sites.json``."""
        return [name for name, site in self.sites.items() if site.role == "train" and not site.left_out]

    def unseen(self) -> list[str]:
        """Names of the sites that were only tested on."""
        return [name for name, site in self.sites.items() if site.role == "unseen" and not site.left_out]

    def report_of(self, site: str) -> EvaluationReport | None:
        """The evaluation of a site, trained or unseen; None when it gave none."""
        return self.evaluation.sites.get(site) or self.evaluation.unseen.get(site)


def read_run_folder(folder: Path) -> Run:
    """Read what the report needs from a run folder.

    ``baselines.json``, ``summary.json`` and the sites' galleries may be absent: a run need not have
    baselines, and in a deployed federation the pictures never leave their hospital.

    Raises:
        CheckpointError: a required file is missing, or one is damaged.
        ConfigurationError: ``config.yaml`` cannot be read.
    """
    sites = _typed(_json(folder / "sites.json"), dict[str, SiteData], folder / "sites.json")
    evaluation = _typed(_json(folder / "evaluation.json"), Evaluation, folder / "evaluation.json")
    strangers = sorted((evaluation.sites.keys() | evaluation.unseen.keys()) - sites.keys())
    if strangers:
        raise CheckpointError(
            f"evaluation.json names sites that sites.json does not: {', '.join(strangers)}",
            where=str(folder),
            do="the files come from different runs; repeat the run or restore its folder",
        )
    baselines, summary = folder / "baselines.json", folder / "summary.json"
    return Run(
        folder=folder,
        config=read_run(folder / "config.yaml"),
        rounds=_rounds(folder / "rounds.jsonl"),
        evaluation=evaluation,
        sites=sites,
        baselines=_typed(_json(baselines), Baselines, baselines) if baselines.exists() else None,
        summary=_typed(_json(summary), Summary, summary) if summary.exists() else Summary(),
        galleries=_galleries(folder / "sites", set(sites)),
    )


def _rounds(path: Path) -> list[RoundRecord]:
    lines = [line for line in _text(path).splitlines() if line.strip()]
    return [_typed(_parse(line, path, number), RoundRecord, path, number) for number, line in enumerate(lines, start=1)]


def _galleries(folder: Path, known: set[str]) -> dict[str, list[Picture]]:
    """Galleries by site; walks existing folders, so that no site's name is ever used as a path."""
    found: dict[str, list[Picture]] = {}
    for site in sorted(folder.iterdir()) if folder.is_dir() else []:
        listing = site / "reports" / "gallery" / "gallery.json"
        if site.name in known and listing.exists():
            pictures = _typed(_json(listing), list[Picture], listing)
            for picture in pictures:
                if Path(picture.file).name != picture.file:
                    raise CheckpointError(
                        f"gallery.json names a file outside its folder: {picture.file}", where=str(listing)
                    )
            found[site.name] = pictures
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"cannot read {path.name} of the run: {error}",
            where=str(path),
            do="check that the folder holds a finished run (an unfinished one can be resumed)",
        ) from error


def _json(path: Path) -> Any:
    return _parse(_text(path), path)


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{path.name} is damaged: {error.msg}",
            where=f"{path}, line {line or error.lineno}",
            do="restore the file or repeat the run",
        ) from error


def _typed(value: Any, kind: type[Record], path: Path, line: int | None = None) -> Record:
    try:
        return adapter_of(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise CheckpointError(
            f"{path.name} does not hold what a run writes: {place}: {first['msg']}",
            where=f"{path}, line {line}" if line else str(path),
            do="restore the file or repeat the run with this version",
        ) from error
