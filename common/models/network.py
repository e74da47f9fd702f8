"""The network of a task."""

from __future__ import annotations

from common.configuration import TaskConfig
from common.models.classifier import BreastClassifier, build_classifier
from common.models.detector import MassDetector, build_detector

Network = BreastClassifier | MassDetector


def build_network(task: TaskConfig, seed: int) -> Network:
    """Make the network that ``task.task`` trains; its initial weights depend on ``seed`` alone.

    Raises:
        ConfigurationError: from the task's own builder.
    """
    match task.task:
        case "detector":
            return build_detector(task, seed)
        case _:
            return build_classifier(task.model, seed)
