"""Can an attacker tell from a model whom it was trained on? Attacks by loss and by likelihood ratio, at five levels.

Run from the repository's root: ``python benchmarks/privacy/membership.py [PATIENTS] [MODELS] [EPOCHS]``; one core.

At each level several models are trained, each on a random half of the patients. Each is attacked once; the others are
what the attacker trained (shadow models), which is where thresholds come from. Prints a Markdown table.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.privacy.attacks import advantage, best_threshold, bound_on_advantage, likelihood_ratios
from benchmarks.privacy.setting import Level, levels, only, phantom_site, small_task
from client.inference import predict
from client.privacy.noise_level import delta_of
from client.privacy.sampling import patients_of
from client.training import Round, train
from common.configuration import TaskConfig
from common.data.dataset import SiteData
from common.metrics.classification import auc
from common.models.network import build_network

PATIENTS_PER_STEP = 8


def halves(patients: int, models: int) -> np.ndarray:
    """Which model is trained on whom, bool ``(models, patients)``: every patient by half of the models."""
    random = np.random.default_rng(0)
    columns = [random.permutation(np.arange(models) % 2 == 0) for _ in range(patients)]
    return np.stack(columns, axis=1)


def confidence(task: TaskConfig, data: SiteData, members: np.ndarray, number: int) -> tuple[np.ndarray, float]:
    """Signed logit of each patient's truth by a model trained on ``members``, and its AUC on the others' breasts."""
    model = build_network(task, seed=number)
    train(model, only(data, np.flatnonzero(members)), task, Round(1, 1, number, data.site))
    logits = predict(model, data, task.training, "attacking")
    signed = logits * (2 * data.targets - 1)
    patients = patients_of(data)
    rest = np.concatenate([patients[n] for n in np.flatnonzero(~members)])
    return np.array([signed[item].mean() for item in patients]), auc(data.targets[rest], logits[rest])


def row(level: Level, task: TaskConfig, data: SiteData, is_in: np.ndarray) -> str:
    """Mean advantages over the models of a level, with standard errors."""
    task = replace(task, privacy=level.privacy)
    seen, aucs = zip(*(confidence(task, data, members, n) for n, members in enumerate(is_in)), strict=True)
    scores = np.stack(seen)
    by_loss, by_ratio = [], []
    for target in range(len(scores)):
        others = np.arange(len(scores)) != target
        threshold = best_threshold(scores[others][is_in[others]], scores[others][~is_in[others]])
        by_loss.append(advantage(scores[target][is_in[target]], scores[target][~is_in[target]], threshold))
        ratios = likelihood_ratios(scores[target], scores[others], is_in[others])
        by_ratio.append(advantage(ratios[is_in[target]], ratios[~is_in[target]], 0.0))
    bound = bound_on_advantage(level.epsilon, delta_of(level.privacy, int(is_in[0].sum())))
    cells = [f"{np.mean(found):.2f} ± {np.std(found, ddof=1) / len(found) ** 0.5:.2f}" for found in (by_loss, by_ratio)]
    return f"| {level.name} | {' | '.join(cells)} | {bound:.2f} | {np.mean(aucs):.2f} |"


def main() -> None:
    """Print a row for every level."""
    torch.set_num_threads(1)
    patients, models, epochs = (int(value) for value in [*sys.argv[1:], "60", "8", "20"][:3])
    task = small_task(epochs)
    with tempfile.TemporaryDirectory() as folder:
        data = phantom_site(Path(folder), task, patients)
        is_in = halves(data.patients, models)
        print(f"{data.patients} patients, {models} models a level, {epochs} epochs\n")
        print("| privacy | advantage by loss | by likelihood ratio | no attacker beats | AUC on other patients |")
        print("|---|---|---|---|---|")
        for level in levels(PATIENTS_PER_STEP):
            print(row(level, task, data, is_in), flush=True)


if __name__ == "__main__":
    main()
