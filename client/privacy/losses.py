"""Loss of every patient of a private step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from client.compute import Compute
from client.tasks.work import LocalWork
from common.configuration import TaskConfig
from common.data.dataset import SiteData
from common.data.sampling import Indices
from common.models.classifier import pool_views
from common.models.network import Network


@dataclass(frozen=True)
class PatientLosses:
    """Computes the losses of patients; a patient is given by the numbers of its breasts."""

    work: LocalWork[Network]
    model: Network
    compute: Compute
    data: SiteData
    task: TaskConfig
    random: torch.Generator
    """Of augmentation."""

    def __call__(self, patients: Sequence[Indices]) -> torch.Tensor:
        """Loss ``(P,)`` of each patient by itself: the mean over what the task takes a loss of, breasts or views."""
        found = self.work.losses(self.model, self.compute, self.data, np.concatenate(patients), self.task, self.random)
        patient_of_breast = torch.from_numpy(np.repeat(np.arange(len(patients)), [len(item) for item in patients]))
        return pool_views(found.values, patient_of_breast[found.breast].to(found.values.device), len(patients))

    def patient_of_image(self, patients: Sequence[Indices]) -> torch.Tensor:
        """Position in ``patients`` of each image's patient, in the order in which the network sees the images."""
        images = [sum(len(self.data.views[int(breast)]) for breast in item) for item in patients]
        return torch.from_numpy(np.repeat(np.arange(len(patients)), images))
