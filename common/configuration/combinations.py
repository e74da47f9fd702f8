"""Choices of a method that exclude each other, each with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import ConfigurationError

Settings = dict[str, Any]


@dataclass(frozen=True)
class Impossible:
    """Settings that cannot go together: when, why, and what to do."""

    keys: tuple[str, ...]
    found: Callable[[Settings], bool]
    reason: str
    do: str


def _objective(*names: str) -> Callable[[Settings], bool]:
    return lambda flat: flat.get("method.local_objective") in names


def _local_norms(flat: Settings) -> bool:
    return flat.get("method.shared_parameters") in ("norm_statistics_local", "norm_local")


def _private(flat: Settings) -> bool:
    return bool(flat.get("privacy.unit", "none") != "none")


def _tunes(flat: Settings) -> bool:
    return bool(flat.get("method.personal_epochs"))


IMPOSSIBLE = (
    Impossible(
        ("method.local_objective", "training.optimizer"),
        lambda flat: (
            _objective("control_variates")(flat)
            and (flat.get("training.optimizer") != "sgd" or flat.get("training.momentum", 0.0) != 0.0)
        ),
        "control variates are gradients that are read off the steps of plain SGD; AdamW or momentum bend the steps",
        "set training.optimizer=sgd training.momentum=0, and a learning rate that suits SGD",
    ),
    Impossible(
        ("method.local_objective", "method.site_weights"),
        lambda flat: (
            _objective("control_variates")(flat) and flat.get("method.site_weights") not in ("patients", "equal")
        ),
        "the server's control variate is the mean of the sites' under weights that do not change from round to round",
        "choose method.site_weights=patients or equal",
    ),
    Impossible(
        ("method.local_objective", "privacy.unit"),
        lambda flat: _private(flat) and _objective("control_variates", "sharpness_aware", "ditto")(flat),
        "its gradients or its stored state would use patients beyond what the privacy guarantee counts",
        "choose method.local_objective=plain or proximal, or privacy.unit=none",
    ),
    Impossible(
        ("method.personal_epochs", "method.shared_parameters"),
        lambda flat: _tunes(flat) and flat.get("method.shared_parameters") not in ("norm_local", "backbone"),
        "no site has layers of its own whose weights it could train on",
        "choose method.shared_parameters=norm_local or backbone, or method.personal_epochs=0",
    ),
    Impossible(
        ("method.personal_epochs", "method.local_objective"),
        lambda flat: _tunes(flat) and _objective("ditto")(flat),
        "each site would have two personal models",
        "choose one of them",
    ),
    Impossible(
        ("method.personal_epochs", "privacy.unit"),
        lambda flat: _private(flat) and _tunes(flat),
        "the personal model would use patients beyond what the privacy guarantee counts, and its figures leave",
        "set method.personal_epochs=0, or privacy.unit=none",
    ),
    Impossible(
        ("method.shared_parameters", "model.norm"),
        lambda flat: (
            _local_norms(flat) and (flat.get("model.norm") == "group" or flat.get("model.backbone") == "convnext_tiny")
        ),
        "there is no batch normalisation that a site could keep to itself",
        "set model.norm=batch with another backbone than convnext_tiny, or method.shared_parameters=all",
    ),
    Impossible(
        ("method.central_noise_multiplier", "model.norm"),
        lambda flat: (
            bool(flat.get("method.central_noise_multiplier"))
            and flat.get("model.norm") == "batch"
            and flat.get("model.backbone") != "convnext_tiny"
        ),
        "noise on the running variances of batch normalisation makes some of them negative",
        "set model.norm=group",
    ),
    Impossible(
        ("method.central_clip_norm", "method.local_objective"),
        lambda flat: flat.get("method.central_clip_norm") is not None and _objective("control_variates")(flat),
        "the server's control variate would be made of updates that were neither clipped nor hidden",
        "choose another method.local_objective",
    ),
)


def check_combinations(flat: Settings) -> None:
    """Refuse choices that exclude each other.

    Args:
        flat: dotted key to value; keys of the coordinator alone may be missing.

    Raises:
        ConfigurationError: naming the settings, the reason, and what to choose instead.
    """
    for item in IMPOSSIBLE:
        if item.found(flat):
            chosen = ", ".join(f"{key}={flat[key]}" for key in item.keys if key in flat)
            raise ConfigurationError(f"{chosen}: {item.reason}", where=", ".join(item.keys), do=item.do)
