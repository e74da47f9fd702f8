"""Typed configuration: what can be set (schema), what is allowed (limits), how it is read (loading)."""

from common.configuration.loading import (
    load_run,
    load_task,
    names,
    read_run,
    settings,
    task_from_yaml,
    task_of,
    to_yaml,
)
from common.configuration.schema import (
    PREPROCESSING_VERSION,
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    FederationConfig,
    ImagingConfig,
    MethodConfig,
    ModelConfig,
    PhantomConfig,
    RunConfig,
    TaskConfig,
    TrainingConfig,
)

__all__ = [
    "PREPROCESSING_VERSION",
    "AugmentationConfig",
    "DataConfig",
    "EvaluationConfig",
    "FederationConfig",
    "ImagingConfig",
    "MethodConfig",
    "ModelConfig",
    "PhantomConfig",
    "RunConfig",
    "TaskConfig",
    "TrainingConfig",
    "load_run",
    "load_task",
    "names",
    "read_run",
    "settings",
    "task_from_yaml",
    "task_of",
    "to_yaml",
]
