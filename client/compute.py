"""Where and how a site computes: device, precision, memory layout, threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from common.configuration import TrainingConfig

_OUT_OF_MEMORY = ("can't allocate memory", "Cannot allocate memory", "out of memory", "bad_alloc")
"""What PyTorch and oneDNN say of it; on a CPU they have no error of their own."""


@dataclass(frozen=True)
class Compute:
    """Device and precision of a site's computations."""

    device: torch.device
    bf16: bool
    contiguous: bool = False
    """Never lay convolutions out channels last."""

    def place(self, images: torch.Tensor) -> torch.Tensor:
        """Move images ``(N, 1, H, W)`` to the device; with one channel they lie in the model's layout as they are."""
        return images.to(self.device)

    def place_model(self, model: nn.Module) -> None:
        """Move a model to the device, its convolutions in the layout that trains fastest.

        That is channels last, in bf16 and in fp32, but not for group normalisation on a CPU: with few channels a group
        its gradient takes 3 to 7 times as long there (``benchmarks/detector_speed.py``).
        """
        grouped = any(isinstance(module, nn.GroupNorm) for module in model.modules())
        slow = grouped and self.device.type == "cpu"
        model.to(self.device)
        model.to(memory_format=torch.contiguous_format if slow or self.contiguous else torch.channels_last)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Mixed precision for the forward pass."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            yield


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is done in hardware: AMX or AVX512-BF16 on a CPU, Ampere or later on a GPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def choose(training: TrainingConfig) -> Compute:
    """Settle device, precision and threads for this machine."""
    if training.threads:
        torch.set_num_threads(training.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = training.precision == "bf16" or (training.precision == "auto" and has_fast_bf16(device))
    return Compute(device, bf16)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of Python, of PyTorch on the CPU, or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
