"""What a budget costs: AUC of private federated training at several epsilon, with and without pretraining.

From the repository's root: ``python benchmarks/privacy/auc_by_budget.py FOLDER [--seeds 0 1 2] [--jobs 2]``. A public
hospital (simulated, 600 exams) pretrains a network; three other simulated hospitals of 300 exams each then train it
together, or begin from nothing, at epsilon inf, 8, 3 and 1 for each patient. Every seed has patients of its own.
Finished trainings are kept, so the same command goes on. Prints a Markdown table; an hour and a half on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from client.inference import predict
from client.site import load_site
from common.configuration import load_run
from common.metrics.classification import auc
from common.models.published import read_published
from simulations.sources import participants

ROOT = Path(__file__).resolve().parents[2]
SITES, PUBLIC, PUBLIC_PATIENTS = "[TUH,RAW,CR]", "[MCS]", 100
FRAME = [
    "unseen=[]", "baselines=[]", "model.norm=group", "imaging.height=128", "imaging.width=96",
    "training.fix_statistics_after=0", "training.threads=1", "evaluation.explained=0", "evaluation.gallery=0",
]  # fmt: skip
GENTLE = ["training.optimizer=sgd", "training.learning_rate=0.05", "federation.rounds=8"]
"""What moves a pretrained network without losing what it knows, with noise and without."""
PRIVATE = ["privacy.unit=patient", "privacy.patients_per_step=60"]
EPSILONS = ("inf", "8", "3", "1")


@dataclass(frozen=True)
class Training:
    """One federated run."""

    name: str
    seed: int
    settings: list[str]


def trainings(seed: int, weights: Path) -> list[Training]:
    """All trainings of a seed."""
    found = []
    for pretrained in (True, False):
        start = [f"model.initial_weights={weights}", *GENTLE] if pretrained else []
        for epsilon in EPSILONS:
            if epsilon == "inf":
                more = ["training.batch_size=60"] if pretrained else ["federation.rounds=24"]
            else:
                more = [*PRIVATE, f"privacy.epsilon={epsilon}", *([] if pretrained else ["federation.rounds=8"])]
            name = f"{'pretrained' if pretrained else 'scratch'}-{epsilon}-{seed}"
            found.append(Training(name, seed, [*start, *more]))
    return found


def call(*arguments: object) -> None:
    """``xai-sim`` with these arguments; what it says is shown where it fails."""
    command = [sys.executable, "-m", "simulations.cli", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def carry_out(folder: Path, data: Path, settings: list[str], sites: str) -> None:
    """A run in its folder, if it is not finished."""
    if not (folder / "evaluation.json").exists():
        call("run", "phantom", "--data", data, "--out", folder, *FRAME, f"sites={sites}", *settings)


def mean_auc(folder: Path) -> float:
    """Mean over the sites, on test patients."""
    sites = json.loads((folder / "evaluation.json").read_text())["sites"]
    return statistics.fmean(site["auc"]["value"] for site in sites.values())


def auc_as_it_is(weights: Path, data: Path, state: Path, seed: int) -> float:
    """Mean over the sites of what the pretrained network achieves without any training there."""
    config = load_run("phantom", [*FRAME, f"sites={SITES}", f"seed={seed}"])
    model, found = read_published(weights).model, []
    for site in participants(config, data, state).sites.values():
        tested = load_site(site, config).of_split("test")
        found.append(auc(tested.targets, predict(model, tested, config.training, site.name)))
    return statistics.fmean(found)


def row(way: str, epsilon: str, values: list[float]) -> str:
    """Of the table."""
    return f"| {way} | {epsilon} | {' | '.join(f'{v:.3f}' for v in values)} | {statistics.fmean(values):.3f} |"


def main() -> None:
    """Render, pretrain, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    folder: Path = asked.folder.resolve()
    drawn = [f"phantom.dataset_seed={PUBLIC_PATIENTS}", f"phantom.sites={PUBLIC}", "phantom.unseen=[]"]
    call("data", "phantom", *drawn, "phantom.exams=600", "--out", folder / "public")
    taught = ["data.test_fraction=0.15", "data.validation_fraction=0.1", "federation.rounds=30"]
    carry_out(folder / "pretraining", folder / "public", taught, PUBLIC)
    plan = []
    for seed in asked.seeds:
        drawn = [f"phantom.dataset_seed={seed}", f"phantom.sites={SITES}", "phantom.unseen=[]"]
        call("data", "phantom", *drawn, "--out", folder / f"data-{seed}")
        plan += trainings(seed, folder / "pretraining" / "model.safetensors")
    with ThreadPoolExecutor(asked.jobs) as pool:
        for _ in pool.map(
            lambda one: carry_out(
                folder / one.name, folder / f"data-{one.seed}", [*one.settings, f"seed={one.seed}"], SITES
            ),
            plan,
        ):
            pass
    print(f"| training | ε | {' | '.join(f'seed {seed}' for seed in asked.seeds)} | mean |")
    print(f"|---|---|{'---|' * (len(asked.seeds) + 1)}")
    weights = folder / "pretraining" / "model.safetensors"
    untouched = [
        auc_as_it_is(weights, folder / f"data-{seed}", folder / f"pretrained-inf-{seed}" / "sites", seed)
        for seed in asked.seeds
    ]
    print(row("pretrained, as it is", "", untouched))
    for way in ("pretrained", "scratch"):
        for epsilon in EPSILONS:
            print(row(way, epsilon, [mean_auc(folder / f"{way}-{epsilon}-{seed}") for seed in asked.seeds]))


if __name__ == "__main__":
    main()
