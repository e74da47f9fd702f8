"""What both attacks look at: a small phantom site, and the levels of privacy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from client.privacy.sampling import patients_of
from client.site import Site, load_site
from common.configuration import PhantomConfig, PrivacyConfig, TaskConfig, load_run, task_of
from common.data.dataset import SiteData
from simulations.sources import write_phantom

SITE = "TUH"
ROWS = 96


@dataclass(frozen=True)
class Level:
    """A level of privacy, and what it promises."""

    name: str
    epsilon: float
    privacy: PrivacyConfig


def levels(patients_per_step: int) -> list[Level]:
    """No privacy, clipping without noise, and three budgets."""
    private = PrivacyConfig(
        unit="patient", patients_per_step=patients_per_step, engine="vectorised", accountant="rdp", clip_norm=1.0
    )
    return [
        Level("none", float("inf"), PrivacyConfig()),
        Level("clipping only", float("inf"), replace(private, noise_multiplier=0.0)),
        *(Level(f"ε = {epsilon}", epsilon, replace(private, epsilon=float(epsilon))) for epsilon in (8, 3, 1)),
    ]


def small_task(epochs: int) -> TaskConfig:
    """A small network without augmentation, which remembers more than one with it: a bad case."""
    return task_of(
        load_run(
            "tiny",
            [
                "model.norm=group", f"imaging.height={ROWS}", f"imaging.width={ROWS * 3 // 4}",
                f"training.local_epochs={epochs}", "training.warmup_rounds=0", "training.threads=1",
                "training.precision=fp32", "training.batch_size=8", "training.balanced_sampling=false",
                "training.weight_decay=0", "training.augmentation.flip=false",
                *(f"training.augmentation.{name}=0" for name in
                  ("rotation_degrees", "scale", "shift", "intensity", "noise", "blur")),
            ],
        )
    )  # fmt: skip


def phantom_site(folder: Path, task: TaskConfig, exams: int) -> SiteData:
    """All patients of a phantom site."""
    write_phantom(PhantomConfig(sites=[SITE], unseen=[], exams=exams, rows=192), folder)
    return load_site(Site(SITE, folder / SITE, folder / "state"), task)


def only(data: SiteData, patients: npt.NDArray[np.int64]) -> SiteData:
    """Those patients, by number."""
    everyone = patients_of(data)
    kept = [int(breast) for patient in patients for breast in everyone[int(patient)]]
    return replace(data, breasts=tuple(data.breasts[n] for n in kept), views=tuple(data.views[n] for n in kept))
