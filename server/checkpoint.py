"""Atomic checkpoints, one file a round: model, what the method carries on, and the round's record."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from common.atomic import write_bytes
from common.configuration import RunConfig, settings
from common.errors import CheckpointError, WireError
from common.packing import Tensors, from_bytes, to_bytes
from server.aggregation.optimizer import OptimizerState
from server.aggregation.weights import SiteWeights
from server.history import RoundRecord, from_json, to_json

_NAME = re.compile(r"round-(\d{4,})\.safetensors")


@dataclass
class Checkpoint:
    """Everything a run needs to go on after ``record.round``."""

    model: Tensors
    optimizer: OptimizerState
    record: RoundRecord
    variate: Tensors = field(default_factory=dict)
    """The server's control variate."""
    weights: SiteWeights = field(default_factory=dict)
    """Weights by site of the rules that carry them on."""


def fingerprint(config: RunConfig) -> str:
    """SHA-256 of every setting that is not the default: a run is only resumed under the very same ones.

    Defaults are left out, so that a later version with one more setting can still resume it.
    """
    default = settings(RunConfig())
    chosen = {key: value for key, value in settings(config).items() if value != default[key]}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def path_of(folder: Path, number: int) -> Path:
    """Where the checkpoint of a round lies in a run folder."""
    return folder / "checkpoints" / f"round-{number:04d}.safetensors"


def save(folder: Path, checkpoint: Checkpoint, config: RunConfig) -> int:
    """Write the checkpoint of a round and return its size in bytes.

    Raises:
        StorageError: disk full or no permission; earlier checkpoints are intact.
    """
    tensors = {f"model/{name}": value for name, value in checkpoint.model.items()}
    tensors |= {f"velocity/{name}": value for name, value in checkpoint.optimizer.velocity.items()}
    tensors |= {f"square/{name}": value for name, value in checkpoint.optimizer.square.items()}
    tensors |= {f"variate/{name}": value for name, value in checkpoint.variate.items()}
    metadata = {"record": to_json(checkpoint.record), "configuration": fingerprint(config)}
    data = to_bytes(tensors, metadata | {"weights": json.dumps(checkpoint.weights)})
    write_bytes(path_of(folder, checkpoint.record.round), data)
    return len(data)


def load(path: Path, config: RunConfig) -> Checkpoint:
    """Read a checkpoint and check that it belongs to ``config``.

    Raises:
        CheckpointError: missing, damaged, or written under another configuration.
    """
    try:
        tensors, metadata = from_bytes(path.read_bytes())
    except (OSError, WireError) as error:
        raise CheckpointError(
            f"cannot read checkpoint: {error}", where=str(path), do="delete this file to resume from the round before"
        ) from error
    if metadata.get("configuration") != fingerprint(config):
        raise CheckpointError(
            "the checkpoint was written under another configuration",
            where=str(path),
            do="restore the run folder's config.yaml, or start a new run in another folder",
        )
    parts: dict[str, Tensors] = {"model": {}, "velocity": {}, "square": {}, "variate": {}}
    for key, value in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = value
    return Checkpoint(
        parts["model"],
        OptimizerState(parts["velocity"], parts["square"]),
        from_json(metadata["record"], str(path)),
        parts["variate"],
        {str(site): float(weight) for site, weight in json.loads(metadata.get("weights", "{}")).items()},
    )


def saved_rounds(folder: Path) -> list[int]:
    """Numbers of the rounds that have a checkpoint, ascending."""
    matches = (_NAME.fullmatch(item.name) for item in (folder / "checkpoints").glob("round-*.safetensors"))
    return sorted(int(match[1]) for match in matches if match)


def prune(folder: Path, keep: int, best: int) -> None:
    """Delete all but the newest ``keep`` checkpoints and the best one."""
    for number in saved_rounds(folder)[:-keep]:
        if number != best:
            path_of(folder, number).unlink(missing_ok=True)
