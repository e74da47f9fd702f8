"""Updates of a round that wait on disk until all have come, and arithmetic on them tensor by tensor.

Memory holds one tensor of every site at a time, never all of their updates.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from common.atomic import write_bytes
from common.packing import Tensors, to_bytes

Floats = npt.NDArray[np.float64]


class WaitingUpdates:
    """A folder of updates, one file a site; it is emptied at the beginning and with :meth:`clear`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clear()

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, site: str, update: Tensors) -> None:
        """Write an update down.

        Raises:
            StorageError: disk full or no permission.
        """
        write_bytes(self._path(site), to_bytes(update))

    def gram(self, sites: Sequence[str], names: Collection[str]) -> Floats:
        """Inner products ``(K, K)`` of the sites' updates over the tensors ``names``, summed in float64."""
        products = np.zeros((len(sites), len(sites)))
        with ExitStack() as stack:
            files = [stack.enter_context(safe_open(self._path(site), framework="pt")) for site in sites]
            for name in sorted(names):
                flat = torch.stack([file.get_tensor(name).double().flatten() for file in files])
                products += (flat @ flat.T).numpy()
        return products

    def combined(self, sites: Sequence[str], names: Collection[str], factors: Floats) -> Tensors:
        """Sum of the updates times their factors, float32, over the tensors ``names``."""
        result: Tensors = {}
        with ExitStack() as stack:
            files = [stack.enter_context(safe_open(self._path(site), framework="pt")) for site in sites]
            for name in sorted(names):
                parts = [
                    float(factor) * file.get_tensor(name).double() for factor, file in zip(factors, files, strict=True)
                ]
                result[name] = torch.stack(parts).sum(dim=0).float()
        return result

    def _path(self, site: str) -> Path:
        return self._folder / f"{site}.safetensors"
