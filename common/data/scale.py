"""Whether a task's images can be made yet, or their scale must first be asked of the sites."""

from __future__ import annotations

from dataclasses import replace

from common.configuration import ImagingConfig, TaskConfig
from common.imaging.harmonise import SCALED


def awaits_scale(imaging: ImagingConfig) -> bool:
    """Whether images are to be brought to a scale that is not known yet."""
    return imaging.harmonisation in SCALED and not imaging.standard_scale


def unscaled(task: TaskConfig) -> TaskConfig:
    """The task with images as they were stored, where their scale is not known yet; else the task itself."""
    return as_stored(task) if awaits_scale(task.imaging) else task


def as_stored(task: TaskConfig) -> TaskConfig:
    """The task with the same frame and images as they were stored."""
    return replace(task, imaging=replace(task.imaging, harmonisation="none", standard_scale=[]))
