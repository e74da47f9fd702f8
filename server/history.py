"""What happened in each round: the records behind ``rounds.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import ValidationError

from common.adapters import adapter_of
from common.atomic import write_text
from common.errors import CheckpointError
from common.protocol import PrivacySpent


@dataclass
class SiteTraining:
    """One site's accepted reply."""

    patients: int
    breasts: int
    malignant: int
    steps: int
    loss: float
    seconds: float
    update_norm: float
    weight: float
    """Share of the mean, 0..1."""
    privacy: PrivacySpent | None = None
    """What the run has cost the site's patients, this round with it."""
    own_loss: float | None = None
    """Of the site's own model on its validation patients, where the weights go by it."""


@dataclass
class ExplanationFigures:
    """One explainer, or a control, on one site's validation patients: means over the views."""

    pointing_game: float | None
    energy_in_box: float | None
    randomised: float | None
    """Likeness to the maps of a network that has forgotten everything."""
    views: int


@dataclass
class SiteValidation:
    """The new global model on one site's validation patients."""

    auc: float | None
    loss: float | None
    breasts: int
    malignant: int
    froc: float | None = None
    """Mean sensitivity of a detector per lesion, over the stated rates of false positives."""
    explanations: dict[str, ExplanationFigures] = field(default_factory=dict)
    """By explainer or control; in rounds that were to be explained."""
    personal: float | None = None
    """AUC of the site's personal model, where it has one."""


@dataclass
class Quarantined:
    """A reply that was not used, and why."""

    site: str
    error: str
    meaning: str


@dataclass
class RoundRecord:
    """One round. ``validation`` is empty until the round's evaluation is done."""

    round: int
    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    train: dict[str, SiteTraining] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    validation: dict[str, SiteValidation] = field(default_factory=dict)
    validated: bool = False


def to_json(record: RoundRecord) -> str:
    """One line of JSON."""
    return json.dumps(asdict(record))


def from_json(text: str, where: str) -> RoundRecord:
    """Undo :func:`to_json`.

    Raises:
        CheckpointError: the text is not a round record.
    """
    try:
        return adapter_of(RoundRecord).validate_json(text)
    except ValidationError as error:
        raise CheckpointError(
            "a round record is damaged", where=where, do="start a new run in another folder"
        ) from error


def write_history(path: Path, records: list[RoundRecord]) -> None:
    """Write ``rounds.jsonl`` anew, atomically."""
    write_text(path, "".join(to_json(record) + "\n" for record in records))


def read_history(path: Path) -> list[RoundRecord]:
    """Read ``rounds.jsonl``; none is an empty history.

    Raises:
        CheckpointError: a line is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [from_json(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def last_accepted(records: Sequence[RoundRecord], site: str) -> int:
    """Last round in which the site's reply was used; 0 if none was. Its state goes on from there."""
    return max((record.round for record in records if site in record.train), default=0)


def best_round(records: list[RoundRecord], rule: str) -> tuple[int, str]:
    """Choose the round whose model is published; returns its number and the rule in words.

    ``validation_auc``: highest mean over the sites of the AUC on validation patients; the later of
    equals. Only rounds that were measured at the most sites compete, so that a round does not win
    because a hard site was absent; sites where AUC is not defined (one class) do not count.
    ``validation_froc``: the same with a detector's mean sensitivity. ``last``: the last round.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("no rounds")
    scored: list[tuple[int, float, int]] = []
    for record in records:
        found = [site.froc if rule == "validation_froc" else site.auc for site in record.validation.values()]
        values = [value for value in found if value is not None]
        if values:
            scored.append((len(values), sum(values) / len(values), record.round))
    if rule == "last" or not scored:
        return records[-1].round, "last round"
    measure = "sensitivity on the FROC curve" if rule == "validation_froc" else "AUC"
    return max(scored)[2], f"best mean validation {measure} over the sites"
