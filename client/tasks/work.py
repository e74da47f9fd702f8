"""The seam between the round loop and its tasks: the functions that a module of this folder has."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from client.compute import Compute
from client.site import Site
from client.tasks import classifier, detector
from client.tasks.inquiry import Inquiry
from client.tasks.losses import Losses
from common.configuration import TaskConfig
from common.data.dataset import SiteData
from common.data.sampling import Indices
from common.protocol import EvaluationReport, ExplanationScore

Model = TypeVar("Model", contravariant=True)


class LocalWork(Protocol[Model]):
    """A task. The loop of ``client/training.py`` and the answers of ``client/app.py`` are the same for all."""

    def trainable(self, data: SiteData, task: TaskConfig) -> SiteData:
        """What of the training patients can be learnt from.

        Raises:
            XaiFederationError: nothing, by name.
        """
        ...

    def kinds(self, data: SiteData, task: TaskConfig) -> npt.NDArray[np.int64]:
        """1 for the breasts that are to be found, 0 for the others, ``(breasts,)``."""
        ...

    def counted(self, data: SiteData, task: TaskConfig) -> int:
        """Patients of ``trainable`` data that count for the site's weight."""
        ...

    def epoch(self, data: SiteData, task: TaskConfig, random: np.random.Generator) -> Indices:
        """Order in which breasts are visited."""
        ...

    def losses(
        self,
        model: Model,
        compute: Compute,
        data: SiteData,
        indices: Indices,
        task: TaskConfig,
        random: torch.Generator,
    ) -> Losses:
        """Losses of a batch of breasts, augmented; none of them depends on another's patient."""
        ...

    def validate(self, model: Model, data: SiteData, task: TaskConfig, name: str) -> EvaluationReport:
        """Figures of every round, without intervals; of no patients at all too."""
        ...

    def measure(self, model: Model, data: SiteData, task: TaskConfig, inquiry: Inquiry) -> EvaluationReport:
        """All figures, with intervals."""
        ...

    def examine(
        self, model: Model, data: SiteData, task: TaskConfig, inquiry: Inquiry, site: Site, training: SiteData
    ) -> EvaluationReport:
        """The same, with scored explanations, and pictures for the site's own eyes.

        ``training``: the site's training patients, whom an explainer may compare with.
        """
        ...

    def explained(
        self, model: Model, data: SiteData, task: TaskConfig, inquiry: Inquiry, training: SiteData
    ) -> dict[str, ExplanationScore]:
        """Scored explanations of a round's model; empty where a task has none, or too few views are known."""
        ...


def work_of(task: TaskConfig) -> LocalWork[Any]:
    """The module of a task."""
    found: dict[str, LocalWork[Any]] = {"classifier": classifier, "detector": detector}
    return found[task.task]
