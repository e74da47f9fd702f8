"""Can an attacker tell who was trained on? Membership inference, with patient-level privacy and without.

From the repository's root: ``python benchmarks/privacy/membership.py [MODELS] [EPSILON ...]``, by default 16 models at
epsilon inf, 8, 3 and 1. Every model learns from its own random half of one simulated site's patients (a coin for each),
for long enough to learn them by heart. Two attackers see the final model and a patient's images and truth: one guesses
by her loss, the other compares with all the other models (LiRA). Prints a Markdown table; intervals resample patients.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from membership_scores import Flags, Floats, advantage, largest_advantage, likelihood_ratio

from client.inference import predict
from client.privacy.noise_level import delta_of
from client.site import Site, load_site
from client.training import Round, train
from common.configuration import (
    AugmentationConfig,
    ImagingConfig,
    ModelConfig,
    PrivacyConfig,
    TaskConfig,
    TrainingConfig,
)
from common.data.dataset import SiteData
from common.metrics.bootstrap import bootstrap_interval
from common.models.network import build_network
from common.offline import switch_off
from simulations.phantom.dataset import write_site

SITE, PATIENTS, ROUNDS = "MCS", 120, 30
SAMPLES, CONFIDENCE = 200, 0.95
STILL = AugmentationConfig(flip=False, rotation_degrees=0.0, scale=0.0, shift=0.0, intensity=0.0, noise=0.0, blur=0.0)
"""Augmentation would hide patients from the attacker who has no privacy to get past."""


def task_of(epsilon: float) -> TaskConfig:
    """A small network that can learn a hundred patients by heart."""
    budget = {} if math.isinf(epsilon) else {"unit": "patient", "epsilon": epsilon}
    return TaskConfig(
        imaging=ImagingConfig(height=64, width=48),
        model=ModelConfig(backbone="resnet8", norm="group"),
        training=TrainingConfig(batch_size=16, threads=1, balanced_sampling=False, augmentation=STILL),
        privacy=PrivacyConfig(**budget, patients_per_step=16),
    )


@dataclass(frozen=True)
class Learnt:
    """One model: from whom it learnt, ``(patients,)``, and how sure it is of each one's truth."""

    member: Flags
    confidence: Floats
    loss: Floats


def learn(number: int, epsilon: float, folder: Path) -> Learnt:
    """Train model ``number`` on its half and ask it about everybody."""
    switch_off()
    task = task_of(epsilon)
    data = load_site(Site(SITE, folder / "site", folder / "state"), task)
    member = np.random.default_rng([0, number]).random(len(data.breasts)) < 0.5  # a patient has one breast here
    model = build_network(task, seed=number)
    for now in range(1, ROUNDS + 1):
        train(model, _of(data, member), task, Round(now, ROUNDS, number, SITE))
    logits = predict(model, data, task.training, "asking")
    confidence = np.where(data.targets == 1, logits, -logits)
    return Learnt(member, confidence, np.logaddexp(0, -confidence))


def _of(data: SiteData, chosen: Flags) -> SiteData:
    numbers = np.flatnonzero(chosen)
    return replace(
        data,
        breasts=tuple(data.breasts[number] for number in numbers),
        views=tuple(data.views[number] for number in numbers),
    )


def row(epsilon: float, models: list[Learnt]) -> str:
    """Of the table."""
    member = np.stack([model.member for model in models])
    losses = np.stack([model.loss for model in models])
    inside, outside = losses[member].mean(), losses[~member].mean()
    ratio = likelihood_ratio(np.stack([model.confidence for model in models]), member)
    cells = [_figures(member, scores) for scores in (-losses, ratio)]
    delta = delta_of(task_of(epsilon).privacy, int(member.sum(axis=1).min()))
    bound = largest_advantage(epsilon, delta)
    return f"| {epsilon:g} | {inside:.2f}, {outside:.2f} | {' | '.join(cells)} | {bound:.2f} |"


def _figures(member: Flags, scores: Floats) -> str:
    known = np.isfinite(scores)
    flags, found = member[known].astype(np.int64), scores[known]
    patients = [str(number) for number in np.broadcast_to(np.arange(member.shape[1]), member.shape)[known]]
    cells = []
    for statistic in (lambda truth, guess: float(roc_auc_score(truth, guess)), advantage):
        interval = bootstrap_interval(statistic, flags, found, patients, SAMPLES, CONFIDENCE, 0)
        cells.append(f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    return " | ".join(cells)


def main() -> None:
    """Train all models, attack them, print the table."""
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    levels = [float(text) for text in sys.argv[2:]] or [math.inf, 8.0, 3.0, 1.0]
    print(
        "| epsilon | loss of those trained on, and others | by loss: AUC | advantage | LiRA: AUC | advantage | bound |"
    )
    print("|---|---|---|---|---|---|---|")
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(mp_context=spawn) as pool:
        folder = Path(place)
        write_site(SITE, PATIENTS, folder / "site", rows=128)
        load_site(Site(SITE, folder / "site", folder / "state"), task_of(math.inf))  # into the cache that all share
        for epsilon in levels:
            learnt = list(pool.map(partial(learn, epsilon=epsilon, folder=folder), range(models)))
            print(row(epsilon, learnt), flush=True)


if __name__ == "__main__":
    main()
