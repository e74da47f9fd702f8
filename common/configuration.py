"""Typed configuration: what can be set, its defaults, and how YAML and ``key=value`` become it.

A scenario is one YAML file of ``configs/simulation``; it names a task (``configs/task``) and a
method (``configs/method``), whose files are read underneath it. Order, later wins: dataclass
defaults, task file, method file, scenario file, ``key=value`` of the command line.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from common.errors import ConfigurationError


@dataclass
class ImagingConfig:
    """From a file to the array a network sees."""

    height: int = 256
    """Rows of the network's input, pixels."""
    width: int = 192
    """Columns of the network's input, pixels."""
    spacing_mm: float | None = None
    """Resample to this pixel spacing (mm) instead of fitting the breast into the frame."""
    harmonisation: str = "percentile"
    """``none`` (stored range / full scale) or ``percentile`` (median and spread inside the breast)."""


@dataclass
class DataConfig:
    """How patients are split and what happens to damaged files."""

    validation_fraction: float = 0.15
    test_fraction: float = 0.25
    unreadable: str = "stop"
    """``stop`` at an unreadable image, or ``skip`` it: skipped images are counted and shown."""
    minimum_patients: int = 8
    """A site with fewer patients takes no part in a run (it is shown as left out)."""


@dataclass
class ModelConfig:
    """The network."""

    backbone: str = "resnet18"
    norm: str = "batch"
    """``batch`` or ``group``."""
    pooling: str = "average"
    """Over positions of a view: ``average`` (of features) or ``lse`` (log-sum-exp of the local scores)."""
    lse_sharpness: float = 4.0
    dropout: float = 0.0
    initial_weights: str | None = None
    """A weights file for transfer learning, or ``imagenet`` for the one of the extra ``pretrained``."""
    frozen_stages: int = 0
    """Leave the stem (1) and the first further stages (2, 3, ...) as they were initialised."""


@dataclass
class AugmentationConfig:
    """Random changes of a training batch; every strength 0 switches that change off."""

    flip: bool = True
    """Mirror top to bottom (the chest wall stays left)."""
    rotation_degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.05
    intensity: float = 0.15
    """Strength of random gain, offset and gamma-like curve."""
    noise: float = 0.03
    blur: float = 0.3
    """Probability of a mild blur."""


@dataclass
class TrainingConfig:
    """Local training at a site."""

    local_epochs: int = 1
    batch_size: int = 16
    """Breasts a batch; each brings all its views."""
    learning_rate: float = 1e-3
    head_learning_rate_factor: float = 1.0
    """The head learns this many times faster than the backbone."""
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    """Over the rounds of the run: ``cosine`` (to a tenth) or ``constant``."""
    warmup_rounds: int = 1
    balanced_sampling: bool = True
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    precision: str = "auto"
    """``auto`` (bf16 where the processor has it), ``bf16`` or ``fp32``."""
    threads: int = 0
    """CPU threads; 0 takes all. The result depends on the number in the last bits."""


@dataclass
class MethodConfig:
    """A federated method is a row of independent choices (docs/architecture.md)."""

    name: str = "fedavg"
    local_objective: str = "plain"
    """``plain`` or ``proximal``."""
    mu: float = 0.0
    """Strength of the proximal term mu/2 * ||w - w_global||^2."""
    site_weights: str = "patients"
    """``patients`` or ``equal``."""
    server_optimizer: str = "average"
    """``average`` or ``momentum``."""
    server_learning_rate: float = 1.0
    server_momentum: float = 0.9


@dataclass
class FederationConfig:
    """The round loop."""

    rounds: int = 8
    quorum: float = 0.5
    """Share of the sites whose good replies make a round count."""
    deadline_seconds: float = 3600.0
    """A site that has not answered by then misses the round."""
    maximum_update_norm: float = 1e4
    """A larger update (L2) is put into quarantine."""
    wire_dtype: str = "bfloat16"
    """Updates travel as ``bfloat16`` or ``float32``."""
    selection: str = "validation_auc"
    """Which round's model is published: best mean ``validation_auc`` over the sites, or the ``last``."""
    keep_checkpoints: int = 2


@dataclass
class EvaluationConfig:
    """What is measured on each site's test patients."""

    confidence: float = 0.95
    bootstrap_samples: int = 1000
    specificity: float = 0.9
    gallery: int = 8
    """Breasts shown with their explanation, per site."""
    explained: int = 60
    """Malignant test breasts with known boxes on which explanations are scored, per site."""


@dataclass
class PhantomConfig:
    """Simulated sites, used when no ``--data`` folder is given."""

    sites: list[str] = field(default_factory=lambda: ["MCS", "TUH", "RAW", "CR"])
    unseen: list[str] = field(default_factory=lambda: ["UNSEEN"])
    exams: int = 150
    """Exams of each training site."""
    unseen_exams: int = 100
    severity: float = 1.0
    """Acquisition shift: 0 = all sites use the reference machine, 1 = their own, up to 2 = exaggerated."""
    dataset_seed: int = 0
    rows: int = 512
    """Rows of a rendered image; columns are three quarters of it."""


@dataclass
class TaskConfig:
    """Everything a site needs to know of a run; travels to the sites and is validated there."""

    task: str = "classifier"
    imaging: ImagingConfig = field(default_factory=ImagingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass
class RunConfig(TaskConfig):
    """One federated run."""

    name: str = "run"
    description: str = ""
    seed: int = 0
    sites: list[str] = field(default_factory=list)
    """Only these sub-folders of ``--data``; empty = every one that has a manifest."""
    unseen: list[str] = field(default_factory=list)
    """Sites of ``--data`` that are only tested on, never trained on."""
    baselines: list[str] = field(default_factory=list)
    """Any of ``local`` (each site alone) and ``pooled`` (all data in one place)."""
    federation: FederationConfig = field(default_factory=FederationConfig)
    phantom: PhantomConfig = field(default_factory=PhantomConfig)


CHOICES: dict[str, tuple[str, ...]] = {
    "task": ("classifier",),
    "imaging.harmonisation": ("none", "percentile"),
    "data.unreadable": ("stop", "skip"),
    "model.norm": ("batch", "group"),
    "model.pooling": ("average", "lse"),
    "training.schedule": ("cosine", "constant"),
    "training.precision": ("auto", "bf16", "fp32"),
    "method.local_objective": ("plain", "proximal"),
    "method.site_weights": ("patients", "equal"),
    "method.server_optimizer": ("average", "momentum"),
    "federation.wire_dtype": ("bfloat16", "float32"),
    "federation.selection": ("validation_auc", "last"),
}

RANGES: dict[str, tuple[float, float]] = {
    "imaging.height": (32, 8192),
    "imaging.width": (32, 8192),
    "imaging.spacing_mm": (0.02, 5.0),
    "data.validation_fraction": (0.0, 0.9),
    "data.test_fraction": (0.0, 0.9),
    "data.minimum_patients": (1, 1_000_000),
    "model.lse_sharpness": (0.1, 100.0),
    "model.dropout": (0.0, 0.95),
    "model.frozen_stages": (0, 8),
    "training.local_epochs": (1, 1000),
    "training.batch_size": (1, 4096),
    "training.learning_rate": (1e-8, 10.0),
    "training.head_learning_rate_factor": (1e-3, 1e3),
    "training.weight_decay": (0.0, 10.0),
    "training.warmup_rounds": (0, 1000),
    "training.threads": (0, 1024),
    "training.augmentation.rotation_degrees": (0.0, 180.0),
    "training.augmentation.scale": (0.0, 0.9),
    "training.augmentation.shift": (0.0, 0.5),
    "training.augmentation.intensity": (0.0, 1.0),
    "training.augmentation.noise": (0.0, 1.0),
    "training.augmentation.blur": (0.0, 1.0),
    "method.mu": (0.0, 1e4),
    "method.server_learning_rate": (1e-4, 100.0),
    "method.server_momentum": (0.0, 0.999),
    "federation.rounds": (1, 100_000),
    "federation.quorum": (0.0, 1.0),
    "federation.deadline_seconds": (1.0, 1e7),
    "federation.maximum_update_norm": (1e-6, 1e12),
    "federation.keep_checkpoints": (1, 100_000),
    "evaluation.confidence": (0.5, 0.9999),
    "evaluation.bootstrap_samples": (10, 1_000_000),
    "evaluation.specificity": (0.01, 0.999),
    "evaluation.gallery": (0, 1000),
    "evaluation.explained": (0, 1_000_000),
    "phantom.exams": (1, 1_000_000),
    "phantom.unseen_exams": (1, 1_000_000),
    "phantom.severity": (0.0, 2.0),
    "phantom.rows": (64, 8192),
}


def valid_keys(schema: type[Any], prefix: str = "") -> list[str]:
    """List every settable key of a configuration dataclass, dotted."""
    keys: list[str] = []
    hints = get_type_hints(schema)
    for item in fields(schema):
        hint, key = hints[item.name], f"{prefix}{item.name}"
        keys.extend(valid_keys(hint, f"{key}.") if is_dataclass(hint) else [key])
    return keys


def nearest(name: str, candidates: list[str]) -> str:
    """Say which candidate was probably meant; empty when none is close.

    Compares the whole dotted name first, then the last part alone.
    """
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not close:
        last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in candidates}
        close = [last[part] for part in difflib.get_close_matches(name.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.7)]
    return close[0] if close else ""


def _flat(node: DictConfig, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in node:
        value = node._get_node(name)
        key = f"{prefix}{name}"
        if isinstance(value, DictConfig) and not value._is_none():
            found.update(_flat(value, f"{key}."))
        else:
            found[key] = value._value() if isinstance(value, ListConfig) else node[name]
    return found


def _refuse_unknown(node: DictConfig, schema: type[Any], where: str) -> None:
    known = valid_keys(schema)
    sections = {".".join(key.split(".")[:depth]) for key in known for depth in range(1, key.count(".") + 1)}
    for key in _flat(node):
        if key in known:
            continue
        if key in sections:
            raise ConfigurationError(
                f"'{key}' is a group of settings, not a setting", where=where, do=f"set one of its keys, e.g. {key}.…"
            )
        guess = nearest(key, known)
        raise ConfigurationError(
            f"unknown configuration key '{key}'",
            where=where,
            do=f"did you mean '{guess}'?"
            if guess
            else "valid top-level keys: " + ", ".join(f.name for f in fields(schema)),
        )


def _check_values(config: DictConfig) -> None:
    flat = _flat(config)
    for key, choices in CHOICES.items():
        if key in flat and flat[key] not in choices:
            guess = nearest(str(flat[key]), list(choices))
            raise ConfigurationError(
                f"'{flat[key]}' is not a value of {key}",
                where=key,
                do=(f"did you mean '{guess}'? " if guess else "") + "choose one of: " + ", ".join(choices),
            )
    for key, (low, high) in RANGES.items():
        value = flat.get(key)
        if value is not None and not low <= value <= high:
            raise ConfigurationError(f"{key} = {value} is out of range", where=key, do=f"choose {low:g} to {high:g}")
    if flat.get("data.validation_fraction", 0) + flat.get("data.test_fraction", 0) >= 1:
        raise ConfigurationError(
            "validation and test fractions leave nothing to train on",
            where="data.validation_fraction, data.test_fraction",
            do="choose fractions whose sum is below 1",
        )
    for name in flat.get("baselines", []):
        if name not in ("local", "pooled"):
            raise ConfigurationError(f"unknown baseline '{name}'", where="baselines", do="choose local, pooled or both")


def _read_yaml(path: Path) -> DictConfig:
    try:
        node = OmegaConf.load(path)
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"cannot read configuration: {error}", where=str(path), do="check the path and the YAML"
        ) from error
    if not isinstance(node, DictConfig):
        raise ConfigurationError("a configuration file must hold key: value pairs", where=str(path))
    return node


def names(group: str) -> list[str]:
    """Names of the shipped configurations of ``group`` (``task``, ``method``, ``simulation``)."""
    folder = resources.files("configs") / group
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def _shipped(group: str, name: str) -> DictConfig:
    """A shipped configuration by name, or any YAML file by path."""
    if name.endswith((".yaml", ".yml")):
        return _read_yaml(Path(name))
    if name not in names(group):
        guess = nearest(name, names(group))
        raise ConfigurationError(
            f"there is no {group} '{name}'",
            where=group,
            do=(f"did you mean '{guess}'? " if guess else "")
            + f"known: {', '.join(names(group))}; or give a .yaml file",
        )
    with resources.as_file(resources.files("configs") / group / f"{name}.yaml") as path:
        return _read_yaml(path)


def _merge(layers: list[tuple[str, DictConfig]], schema: type[Any]) -> Any:
    config = OmegaConf.structured(schema)
    for where, layer in layers:
        _refuse_unknown(layer, schema, where)
        try:
            config = OmegaConf.merge(config, layer)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(
                f"a setting has the wrong type: {reason}",
                where=f"{where}: {error.full_key or ''}",
                do="see --help and docs/configuration.md",
            ) from error
    _check_values(config)
    return OmegaConf.to_object(config)


def dotlist(overrides: list[str]) -> DictConfig:
    """Parse ``key=value`` arguments.

    Raises:
        ConfigurationError: an argument has no ``=`` or its value is not YAML.
    """
    for item in overrides:
        if "=" not in item:
            raise ConfigurationError(
                f"'{item}' is not key=value", where="command line", do="write e.g. federation.rounds=5"
            )
    try:
        return OmegaConf.from_dotlist(overrides)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigurationError(f"cannot read an override: {error}", where="command line") from error


def load_run(scenario: str, overrides: list[str] | None = None) -> RunConfig:
    """Resolve a scenario (shipped name or YAML path) and overrides into a checked configuration.

    Raises:
        ConfigurationError: unknown scenario, key or choice, wrong type, value out of range.
    """
    layer = _shipped("simulation", scenario)
    override = dotlist(overrides or [])
    layers: list[tuple[str, DictConfig]] = []
    for group in ("task", "method"):
        name = override.pop(group, None) or layer.pop(group, None)
        if isinstance(name, DictConfig):
            raise ConfigurationError(
                f"'{group}' must be a name", where=scenario, do=f"known: {', '.join(names(group))}"
            )
        if name is not None:
            layers.append((f"{group} '{name}'", _shipped(group, str(name))))
    # `method.mu=0.1` on the command line sets one part of the row the scenario names.
    layers += [(f"scenario '{scenario}'", layer), ("command line", override)]
    run: RunConfig = _merge(layers, RunConfig)
    return run


def read_run(path: Path) -> RunConfig:
    """Read the resolved ``config.yaml`` of a run folder."""
    run: RunConfig = _merge([(str(path), _read_yaml(path))], RunConfig)
    return run


def to_yaml(config: TaskConfig) -> str:
    """Every setting with its value, as YAML."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def task_from_yaml(text: str) -> TaskConfig:
    """Read a task that came over the wire; the site trusts nothing it cannot type.

    Raises:
        ConfigurationError: unknown key, wrong type or value out of range.
    """
    try:
        node = OmegaConf.create(text)
    except YAMLError as error:
        raise ConfigurationError("the task of a message is not YAML", where="message") from error
    if not isinstance(node, DictConfig):
        raise ConfigurationError("the task of a message must hold key: value pairs", where="message")
    task: TaskConfig = _merge([("message", node)], TaskConfig)
    return task


def task_of(run: RunConfig) -> TaskConfig:
    """The part of a run's configuration that travels to the sites."""
    return TaskConfig(**{item.name: getattr(run, item.name) for item in fields(TaskConfig)})
