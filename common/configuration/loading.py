"""Turns YAML files and ``key=value`` arguments into checked, typed configuration.

A scenario is one YAML file of ``configs/simulation``; it names a task (``configs/task``) and a
method (``configs/method``), whose files are read underneath it. Order, later wins: dataclass
defaults, task file, method file, scenario file, ``key=value`` of the command line.
"""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from functools import cache, lru_cache
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from common.configuration.limits import check_values
from common.configuration.naming import nearest
from common.configuration.schema import RunConfig, TaskConfig
from common.errors import ConfigurationError

Schema = TypeVar("Schema", bound=TaskConfig)


@cache
def valid_keys(schema: Any, prefix: str = "") -> tuple[str, ...]:
    """Every settable key of a configuration dataclass, dotted."""
    keys: list[str] = []
    hints: dict[str, Any] = get_type_hints(schema)
    for item in fields(schema):
        hint, key = hints[item.name], f"{prefix}{item.name}"
        keys.extend(valid_keys(hint, f"{key}.") if isinstance(hint, type) and is_dataclass(hint) else [key])
    return tuple(keys)


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            found.update(_flat(value, f"{key}."))
        else:
            found[key] = value
    return found


def _plain(node: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(node)
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def _refuse_unknown(node: DictConfig, schema: Any, where: str) -> None:
    known = valid_keys(schema)
    groups = {".".join(key.split(".")[:depth]) for key in known for depth in range(1, key.count(".") + 1)}
    for key in _flat(_plain(node)):
        if key in known:
            continue
        if key in groups:
            example = next(name for name in known if name.startswith(f"{key}."))
            raise ConfigurationError(
                f"'{key}' is a group of settings, not a setting", where=where, do=f"set one of its keys, e.g. {example}"
            )
        guess = nearest(key, list(known))
        top = ", ".join(item.name for item in fields(schema))
        raise ConfigurationError(
            f"unknown configuration key '{key}'",
            where=where,
            do=f"did you mean '{guess}'?" if guess else f"valid top-level keys: {top}",
        )


def _refuse_references(node: DictConfig, where: str) -> None:
    """No value may be computed: ``${oc.env:...}`` of a message would read the site's own environment."""
    for key, value in _flat(_plain(node)).items():
        if "${" in str(value):
            raise ConfigurationError(
                "references (${...}) are not allowed", where=f"{where}: {key}", do="write the value itself"
            )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), error) from error


def _of_text(text: str, where: str) -> DictConfig:
    try:
        node = OmegaConf.load(StringIO(text))
    except (OSError, YAMLError) as error:
        raise _unreadable(where, error) from error
    if not isinstance(node, DictConfig):
        raise ConfigurationError("a configuration file must hold key: value pairs", where=where)
    return node


def _unreadable(where: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"cannot read configuration: {error}", where=where, do="check the path and the YAML")


def _read_yaml(path: Path) -> DictConfig:
    return _of_text(_text_of(path), str(path))


def names(group: str) -> list[str]:
    """Names of the shipped configurations of ``group`` (``task``, ``method``, ``simulation``)."""
    folder = resources.files("configs") / group
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def _shipped(group: str, name: str) -> DictConfig:
    """A shipped configuration by name, or any YAML file by path."""
    if name.endswith((".yaml", ".yml")):
        return _read_yaml(Path(name))
    known = names(group)
    if name not in known:
        guess = nearest(name, known)
        hint = f"did you mean '{guess}'? " if guess else ""
        raise ConfigurationError(
            f"there is no {group} '{name}'", where=group, do=f"{hint}known: {', '.join(known)}; or give a .yaml file"
        )
    with resources.as_file(resources.files("configs") / group / f"{name}.yaml") as path:
        return _read_yaml(path)


@cache
def _defaults(schema: Any) -> Any:
    """Typed settings with their defaults; not to be changed (``OmegaConf.merge`` makes new ones)."""
    return OmegaConf.structured(schema)


def _merge(layers: list[tuple[str, DictConfig]], schema: type[Schema]) -> Schema:
    kind: Any = schema
    config = _defaults(kind)
    for where, layer in layers:
        _refuse_unknown(layer, schema, where)
        _refuse_references(layer, where)
        try:
            config = OmegaConf.merge(config, layer)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(
                f"a setting has the wrong type: {reason}",
                where=f"{where}: {error.full_key or 'unknown key'}",
                do="see the defaults and types in docs/configuration.md",
            ) from error
    check_values(settings(config))
    typed = OmegaConf.to_object(config)
    if not isinstance(typed, schema):
        raise TypeError(f"configuration resolved to {type(typed).__name__}, not {schema.__name__}")
    return typed


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

    ``method=NAME`` takes another row; ``method.mu=0.1`` changes one part of the row in use.

    Raises:
        ConfigurationError: unknown scenario, key or choice, wrong type, value out of range.
    """
    layer = _shipped("simulation", scenario)
    arguments = overrides or []
    chosen = dotlist([item for item in arguments if item.split("=", 1)[0] in ("task", "method")])
    override = dotlist([item for item in arguments if item.split("=", 1)[0] not in ("task", "method")])
    layers: list[tuple[str, DictConfig]] = []
    for group in ("task", "method"):
        named = layer.pop(group, None)
        name = chosen.get(group, named)
        if name is not None:
            layers.append((f"{group} '{name}'", _shipped(group, str(name))))
    layers += [(f"scenario '{scenario}'", layer), ("command line", override)]
    return _merge(layers, RunConfig)


def load_task(settings_of: str | None, overrides: list[str] | None = None) -> TaskConfig:
    """What a site needs to know of a run: from a scenario, a run's ``config.yaml``, or the defaults.

    Args:
        settings_of: shipped scenario, YAML file, or ``None`` for the defaults.
        overrides: ``key=value``.

    Raises:
        ConfigurationError: as :func:`load_run`.
    """
    if settings_of is None:
        return _merge([("command line", dotlist(overrides or []))], TaskConfig)
    return task_of(load_run_settings(settings_of, overrides))


def load_run_settings(settings_of: str | None, overrides: list[str] | None = None) -> RunConfig:
    """The same of a whole run, with what stays at the coordinator.

    Raises:
        ConfigurationError: as :func:`load_run`.
    """
    if settings_of is None:
        return _merge([("command line", dotlist(overrides or []))], RunConfig)
    if settings_of.endswith((".yaml", ".yml")) and isinstance(_read_yaml(Path(settings_of)).get("method"), DictConfig):
        resolved = [(settings_of, _read_yaml(Path(settings_of))), ("command line", dotlist(overrides or []))]
        return _merge(resolved, RunConfig)
    return load_run(settings_of, overrides)


def read_run(path: Path) -> RunConfig:
    """Read the resolved ``config.yaml`` of a run folder.

    Raises:
        ConfigurationError: as :func:`load_run`.
    """
    return deepcopy(_run_of_text(_text_of(path), str(path)))


@lru_cache(maxsize=16)
def _run_of_text(text: str, where: str) -> RunConfig:
    """A run's own file is looked at again and again, and typing it takes a tenth of a second."""
    return _merge([(where, _of_text(text, where))], RunConfig)


def settings(config: TaskConfig | DictConfig) -> dict[str, Any]:
    """Every setting by its dotted key."""
    return _flat(_plain(config) if isinstance(config, DictConfig) else asdict(config))


def to_yaml(config: TaskConfig) -> str:
    """Every setting with its value, as YAML."""
    return _text_of_settings(pickle.dumps(config))


@lru_cache(maxsize=16)
def _text_of_settings(pickled: bytes) -> str:
    """Every message of a run brings the same text, and writing it takes a tenth of a second."""
    return OmegaConf.to_yaml(OmegaConf.structured(pickle.loads(pickled)))


def task_from_yaml(text: str) -> TaskConfig:
    """Read a task that came over the wire; the site trusts nothing it cannot type.

    Raises:
        ConfigurationError: unknown key, wrong type or value out of range.
    """
    return deepcopy(_task_of_text(text))


@lru_cache(maxsize=16)
def _task_of_text(text: str) -> TaskConfig:
    """The messages of a run bring the same text, and typing it takes a tenth of a second."""
    try:
        node = OmegaConf.create(text)
    except YAMLError as error:
        raise ConfigurationError("the task of a message is not YAML", where="message") from error
    if not isinstance(node, DictConfig):
        raise ConfigurationError("the task of a message must hold key: value pairs", where="message")
    return _merge([("message", node)], TaskConfig)


def task_of(run: RunConfig) -> TaskConfig:
    """The part of a run's configuration that travels to the sites."""
    return TaskConfig(**{item.name: getattr(run, item.name) for item in fields(TaskConfig)})
