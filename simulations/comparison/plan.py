"""What is to be compared: methods, seeds, sites, and the list of trainings that this takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.configuration import RunConfig, load_run
from common.configuration.loading import settings
from common.errors import ConfigurationError

BASELINE_METHOD = "fedavg"
"""The row whose settings local, pooled and oracle training take: the scenario's own, with nothing of a method."""
_BUDGET = ("federation.rounds", "training.local_epochs", "training.balanced_sampling")
_SAME = (
    "task", "evaluation.confidence", "evaluation.bootstrap_samples", "evaluation.hit_rule", "evaluation.hit_overlap",
    "detector.lesions",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    scenario: str
    overrides: tuple[str, ...]
    methods: tuple[str, ...]
    """``NAME`` or ``NAME:key=value:key=value``: a row, and settings for it alone."""
    seeds: tuple[int, ...]
    oracle: bool = False
    leave_one_out: bool = False
    new_patients: bool = False


@dataclass(frozen=True)
class Training:
    """One training of the comparison, in a folder of its own: a federated run, or one on merged data."""

    way: str
    """What is compared: a method, ``pooled``, ``local`` or ``oracle``."""
    seed: int
    config: RunConfig
    data: Path
    folder: Path
    """Of the run; of a training on merged data nothing is kept but its answers."""
    answers: Path
    splits: tuple[tuple[str, str], ...]
    """Sites whose patients it answers about, and which of them."""
    merged: tuple[str, ...] = ()
    """Sites whose data are merged and trained on in one place; empty for a federated run."""
    without: str = ""
    """The site that was left out, of a federated run that all others train."""

    @property
    def name(self) -> str:
        """For people."""
        way = f"{self.way} {self.merged[0]}" if self.way in ("local", "oracle") else self.way
        return f"{way}{f' without {self.without}' if self.without else ''}, seed {self.seed}"

    @property
    def personal_answers(self) -> Path:
        """Where the answers of the sites' personal models lie, if the method has them."""
        return self.answers.with_name(f"{self.answers.stem}-personal.npz")


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds of ``0,1,2``.

    Raises:
        ConfigurationError: one of them is no whole number.
    """
    try:
        return tuple(int(item) for item in text.split(",") if item.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"'{text}' is no list of seeds", where="--seeds", do="write whole numbers with commas, e.g. 0,1,2"
        ) from error


def label_of(method: str) -> str:
    """How a method is called in the results: as it was asked for, a file without folder and ending."""
    name, *changes = method.split(":")
    return ":".join([Path(name).stem if name.endswith((".yaml", ".yml")) else name, *changes])


def folder_of(label: str) -> str:
    """A folder's name for a label."""
    return re.sub(r"[^\w.+=-]", "_", label)


def load_methods(asked: Asked) -> dict[str, RunConfig]:
    """The settings of every method by its label, checked to be comparable; all with one CPU thread a run.

    Raises:
        ConfigurationError: fewer than two seeds, a seed, method or setting named twice, an unknown row,
            methods that get unequal budgets or other tasks, or settings that the comparison chooses itself.
    """
    if len(asked.seeds) < 2 or len(set(asked.seeds)) < len(asked.seeds):
        raise ConfigurationError(
            f"a comparison needs two or more different seeds, not {', '.join(map(str, asked.seeds)) or 'none'}: one "
            "says nothing about the chance in training",
            where="--seeds",
            do="give e.g. --seeds 0,1,2",
        )
    for item in asked.overrides:
        if item.split("=", 1)[0] in ("method", "seed"):
            raise ConfigurationError(
                f"'{item}': methods and seeds are what is compared",
                where="command line",
                do="use --methods and --seeds",
            )
    found: dict[str, RunConfig] = {}
    for method in asked.methods:
        label = label_of(method)
        if folder_of(label) in map(folder_of, found):
            raise ConfigurationError(f"'{label}' is named twice", where="--methods", do="name each method once")
        found[label] = _one_thread(_load(asked, method))
    if not found:
        raise ConfigurationError("there is no method to compare", where="--methods", do="name two or more rows")
    _require_comparable(found)
    return found


def _load(asked: Asked, method: str) -> RunConfig:
    name, *changes = method.split(":")
    return load_run(asked.scenario, [*asked.overrides, *changes, f"method={name}"])


def baseline_settings(asked: Asked) -> RunConfig:
    """The settings of local, pooled and oracle training."""
    return _one_thread(_load(asked, BASELINE_METHOD))


def _one_thread(config: RunConfig) -> RunConfig:
    """Results depend on the number of threads in the last bits, and must not on how many runs go at a time."""
    return replace(config, training=replace(config.training, threads=1), baselines=[])


def _require_comparable(found: dict[str, RunConfig]) -> None:
    first, *others = found
    flat = settings(found[first])
    for label in others:
        mine = settings(found[label])
        keys = [key for key in flat if key in (*_BUDGET, *_SAME) or key.startswith(("data.", "phantom."))]
        for key in keys:
            if mine[key] != flat[key]:
                raise ConfigurationError(
                    f"{label} has {key} = {mine[key]}, {first} has {flat[key]}: methods are compared with the same "
                    "patients and the same budget",
                    where="--methods",
                    do=f"set {key} for all of them, beside the scenario",
                )


def reference_of(labels: Sequence[str]) -> str:
    """What the others are compared with: ``fedavg`` if it is there, else the first."""
    return "fedavg" if "fedavg" in labels else labels[0]


@dataclass(frozen=True)
class Sites:
    """Who trains, who is only tested on, and where the data of each seed lie."""

    train: tuple[str, ...]
    unseen: tuple[str, ...]
    data: dict[int, Path]


def trainings(
    asked: Asked, methods: dict[str, RunConfig], baselines: Sequence[str], sites: Sites, out: Path
) -> list[Training]:
    """Every training of the comparison; baselines once a seed, because nothing of a method enters into them.

    Args:
        asked: the command line.
        methods: by label, from :func:`load_methods`.
        baselines: any of ``local`` and ``pooled``.
        sites: who takes part.
        out: folder of the comparison.
    """
    splits = (*((name, "test") for name in sites.train), *((name, "all") for name in sites.unseen))
    own = baseline_settings(asked)
    found: list[Training] = []
    for seed in asked.seeds:
        at = _seeded(own, seed, sites.train, sites.unseen)

        def central(way: str, merged: tuple[str, ...], at: RunConfig = at, seed: int = seed) -> Training:
            folder = out / "baselines" / (f"{way}-{merged[0]}" if len(merged) == 1 else way) / f"seed-{seed}"
            file = folder / "answers.npz"
            asked_about = ((merged[0], "test"),) if way == "oracle" else splits
            return Training(way, seed, at, sites.data[seed], folder, file, asked_about, merged)

        for label, config in methods.items():
            folder = out / "runs" / folder_of(label) / f"seed-{seed}"
            run = _seeded(config, seed, sites.train, sites.unseen)
            found.append(Training(label, seed, run, sites.data[seed], folder, folder / "answers.npz", splits))
            for left in sites.train if asked.leave_one_out else ():
                folder = out / "runs" / folder_of(label) / f"seed-{seed}-without-{left}"
                run = _seeded(config, seed, tuple(name for name in sites.train if name != left), (left,))
                file, tested = folder / "answers.npz", ((left, "test"),)
                found.append(Training(label, seed, run, sites.data[seed], folder, file, tested, without=left))
        if "local" in baselines:
            found += [central("local", (name,)) for name in sites.train]
        if "pooled" in baselines:
            found.append(central("pooled", sites.train))
        if asked.oracle:
            found += [central("oracle", (name,)) for name in sites.unseen]
    return found


def _seeded(config: RunConfig, seed: int, train: tuple[str, ...], unseen: tuple[str, ...]) -> RunConfig:
    return replace(config, seed=seed, sites=list(train), unseen=list(unseen))
