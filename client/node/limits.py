"""Keeps the executor within the policy's cores, memory and GPUs, whatever a task asks for."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

import torch

from client.node.policy import Policy
from common.errors import ConfigurationError

GIB = 2**30
VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices(gpus: Sequence[int] | None, offered: str | None) -> str | None:
    """Which GPUs CUDA may see: the value of ``CUDA_VISIBLE_DEVICES``; ``None`` leaves it alone.

    Args:
        gpus: of the policy: numbers as this process would count them; empty = none; ``None`` = all that are offered.
        offered: the variable as the process found it; what it hides stays hidden.

    Raises:
        ConfigurationError: the policy names a GPU that is hidden.
    """
    if gpus is None:
        return None
    if offered is None:
        return ",".join(str(number) for number in gpus)
    names = [name.strip() for name in offered.split(",") if name.strip()]
    require_gpus(gpus, len(names))
    return ",".join(names[number] for number in gpus)


def require_gpus(gpus: Sequence[int] | None, present: int) -> None:
    """Refuse a policy that names a GPU which is not there: training on the CPU instead would be a silent fallback.

    Raises:
        ConfigurationError: as said.
    """
    for number in gpus or ():
        if number >= present:
            raise ConfigurationError(
                f"policy: gpus names a GPU that is not there: of those allowed this machine offers {present}",
                where="site.yaml: policy.gpus",
                do="count from 0; [] trains on the CPU, null takes what there is",
            )


def memory_fraction(limit_gb: float, total_bytes: int) -> float:
    """Share of a GPU's memory that the policy allows, at most all of it.

    Args:
        limit_gb: of the policy, GiB; 0 = no limit.
        total_bytes: memory of the GPU.
    """
    return min(1.0, limit_gb * GIB / total_bytes) if limit_gb else 1.0


def apply(policy: Policy) -> None:
    """Bind this process to the policy; call it before anything is computed.

    Memory is that of the process's own data (``RLIMIT_DATA``: heap and private mappings, not code and files).

    Raises:
        ConfigurationError: a GPU that is not there.
    """
    if policy.cores:
        allowed = sorted(os.sched_getaffinity(0))[: policy.cores]
        os.sched_setaffinity(0, allowed)
    devices = visible_devices(policy.gpus, os.environ.get(VISIBLE))
    if devices is not None:
        os.environ[VISIBLE] = devices  # CUDA reads it when it is first used
        if policy.gpus:
            require_gpus(range(len(policy.gpus)), torch.cuda.device_count())
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            total = torch.cuda.get_device_properties(number).total_memory
            torch.cuda.set_per_process_memory_fraction(memory_fraction(policy.gpu_memory_gb, total), number)
    if policy.memory_gb:
        size = int(policy.memory_gb * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
