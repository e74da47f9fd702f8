"""Reads a published model: one file that says by itself what it is and how its images are made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from common.configuration import TaskConfig, task_from_yaml
from common.errors import WeightsFileError, WireError, XaiFederationError
from common.models.classifier import BreastClassifier, build_classifier
from common.models.detector import MassDetector, build_detector
from common.packing import from_bytes

FORMAT = "xai-federation/1"

M = TypeVar("M", bound=BreastClassifier | MassDetector)


@dataclass(frozen=True)
class Published(Generic[M]):
    """A federation's model in evaluation mode, and what its file says of it."""

    model: M
    task: TaskConfig
    round: int
    prior_log_odds: float
    """Added to every logit of a classifier: undoes class balancing in training."""
    digest: str
    """SHA-256 of the file."""


class PublishedModel(Published[BreastClassifier]):
    """A classifier."""


class PublishedDetector(Published[MassDetector]):
    """A mass detector."""


def read_any_published(path: Path) -> PublishedModel | PublishedDetector:
    """Read ``model.safetensors`` of a finished run, whatever its task.

    Raises:
        WeightsFileError: missing, damaged, or not a published model.
    """
    return _read(path, "published model", ("classifier", "detector"))


def read_published(path: Path) -> PublishedModel:
    """Read ``model.safetensors`` of a run that trained a classifier.

    Raises:
        WeightsFileError: missing, damaged, or not a published classifier.
    """
    found = _read(path, "published classifier", ("classifier",))
    assert isinstance(found, PublishedModel)
    return found


def _read(path: Path, what: str, tasks: tuple[str, ...]) -> PublishedModel | PublishedDetector:
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
        if task.task not in tasks:
            raise WireError(f"its task is {task.task}, and this takes a {' or a '.join(tasks)}")
        told = task, int(metadata["round"]), float(metadata["prior_log_odds"]), hashlib.sha256(data).hexdigest()
        if task.task == "detector":
            detector = build_detector(task, 0)
            detector.load_state_dict(tensors)
            return PublishedDetector(detector.eval(), *told)
        model = build_classifier(task.model, 0)
        model.load_state_dict(tensors)
        return PublishedModel(model.eval(), *told)
    except (XaiFederationError, LookupError, ValueError, RuntimeError) as error:
        reason = error.what if isinstance(error, XaiFederationError) else str(error).splitlines()[0]
        raise WeightsFileError(
            f"this is no {what}: {reason}", where=str(path), do="give model.safetensors of a finished run's folder"
        ) from error
