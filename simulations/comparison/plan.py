"""What is to be compared: methods, seeds, sites, and the list of trainings that this takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.configuration import RunConfig, load_run
from common.configuration.limits import check_values
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
    folds: int = 1
    """Parts of a cross-validation by patient; 1: none, and the scenario's test patients."""


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
    fold: int = 1
    of_folds: int = 1

    @property
    def name(self) -> str:
        """For people."""
        way = f"{self.way} {self.merged[0]}" if self.way in ("local", "oracle") else self.way
        fold = f", fold {self.fold}" if self.of_folds > 1 else ""
        return f"{way}{f' without {self.without}' if self.without else ''}, seed {self.seed}{fold}"

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
    config = load_run(asked.scenario, [*asked.overrides, *changes, f"method={name}"])
    return config if asked.folds == 1 else in_fold(config, 1, asked.folds)


def in_fold(config: RunConfig, fold: int, folds: int) -> RunConfig:
    """The settings of one part of a cross-validation.

    Raises:
        ConfigurationError: test and validation patients leave nobody to train on.
    """
    data = replace(config.data, test_fraction=1 / folds, fold=fold)
    check_values({f"data.{key}": value for key, value in asdict(data).items()})
    return replace(config, data=data)


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
    return [
        training
        for seed in asked.seeds
        for fold in range(1, asked.folds + 1)
        for training in _of_one_fold(asked, methods, baselines, sites, out, seed, fold)
    ]


def _of_one_fold(
    asked: Asked,
    methods: dict[str, RunConfig],
    baselines: Sequence[str],
    sites: Sites,
    out: Path,
    seed: int,
    fold: int,
) -> list[Training]:
    place = f"seed-{seed}" if asked.folds == 1 else f"seed-{seed}-fold-{fold}"
    data, own = sites.data[seed], baseline_settings(asked)
    unseen = "all" if asked.folds == 1 else "test"
    splits = (*((name, "test") for name in sites.train), *((name, unseen) for name in sites.unseen))

    def settled(config: RunConfig, train: tuple[str, ...], unseen: tuple[str, ...]) -> RunConfig:
        config = replace(config, seed=seed, sites=list(train), unseen=list(unseen))
        return config if asked.folds == 1 else in_fold(config, fold, asked.folds)

    def federated(way: str, config: RunConfig, left: str = "") -> Training:
        folder = out / "runs" / folder_of(way) / (f"{place}-without-{left}" if left else place)
        train = tuple(name for name in sites.train if name != left)
        run, asked_about = (
            (settled(config, train, (left,)), ((left, "test"),))
            if left
            else (settled(config, train, sites.unseen), splits)
        )
        file = folder / "answers.npz"
        return Training(way, seed, run, data, folder, file, asked_about, (), left, fold, asked.folds)

    def central(way: str, merged: tuple[str, ...]) -> Training:
        folder = out / "baselines" / (f"{way}-{merged[0]}" if len(merged) == 1 else way) / place
        asked_about = ((merged[0], "test"),) if way == "oracle" else splits
        run, file = settled(own, sites.train, sites.unseen), folder / "answers.npz"
        return Training(way, seed, run, data, folder, file, asked_about, merged, "", fold, asked.folds)

    found: list[Training] = []
    for label, config in methods.items():
        found.append(federated(label, config))
        found += [federated(label, config, left) for left in (sites.train if asked.leave_one_out else ())]
    if "local" in baselines:
        found += [central("local", (name,)) for name in sites.train]
    if "pooled" in baselines:
        found.append(central("pooled", sites.train))
    if asked.oracle:
        found += [central("oracle", (name,)) for name in sites.unseen]
    return found
