"""Reads a published classifier: one file that says by itself what it is and how its images are made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from common.configuration import TaskConfig, task_from_yaml
from common.errors import WeightsFileError, WireError, XaiFederationError
from common.models.classifier import BreastClassifier, build_classifier
from common.packing import from_bytes

FORMAT = "xai-federation/1"


@dataclass(frozen=True)
class PublishedModel:
    """A federation's model in evaluation mode, and what its file says of it."""

    model: BreastClassifier
    task: TaskConfig
    round: int
    prior_log_odds: float
    """Added to every logit: undoes class balancing in training."""
    digest: str
    """SHA-256 of the file."""


def read_published(path: Path) -> PublishedModel:
    """Read ``model.safetensors`` of a finished run.

    Raises:
        WeightsFileError: missing, damaged, or not a published model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsFileError(
            f"cannot read the model: {error.strerror}", where=str(path), do="give the run's model.safetensors"
        ) from error
    try:
        tensors, metadata = from_bytes(data)
        if metadata.get("format") != FORMAT:
            raise WireError(f"its format is '{metadata.get('format', '')}', not {FORMAT}")
        task = task_from_yaml(metadata["task"])
        if task.task != "classifier":
            raise WireError(f"its task is {task.task}, only a classifier can be explained so far")
        model = build_classifier(task.model, 0)
        model.load_state_dict(tensors)
        number, shift = int(metadata["round"]), float(metadata["prior_log_odds"])
    except (XaiFederationError, LookupError, ValueError, RuntimeError) as error:
        reason = error.what if isinstance(error, XaiFederationError) else str(error).splitlines()[0]
        raise WeightsFileError(
            f"this is no published classifier: {reason}",
            where=str(path),
            do="give model.safetensors of a finished run's folder",
        ) from error
    return PublishedModel(model.eval(), task, number, shift, hashlib.sha256(data).hexdigest())
