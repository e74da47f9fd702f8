"""A model or an update as one flat byte array: names, shapes, dtypes and digest in a small header.

The bytes are a safetensors file. One array costs a half to a quarter of what many small ones
cost on Flower's wire, and the same bytes serve as checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from common.errors import WireError

METADATA = "xai-federation"
_ENTRY_BYTES = 256
"""Room for what the header says of one tensor besides its name and shape, and for the metadata."""

Tensors = dict[str, torch.Tensor]
Bytes = npt.NDArray[np.uint8]


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Serialise tensors with their digest; equal tensors and metadata give equal bytes.

    The metadata is one JSON text: safetensors writes several entries in no particular order.
    """
    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    text = json.dumps({**(metadata or {}), "digest": digest(contiguous)}, sort_keys=True)
    return save(contiguous, {METADATA: text})


def read_metadata(data: bytes) -> dict[str, str]:
    """Return the text metadata of the header.

    Raises:
        WireError: the bytes are not a safetensors file of ours.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        text = json.loads(data[8 : 8 + length])["__metadata__"][METADATA]
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise WireError("packed tensors have a damaged header", do="send or copy them again") from error


def from_bytes(data: bytes) -> tuple[Tensors, dict[str, str]]:
    """Read tensors and metadata and check the digest.

    Raises:
        WireError: damaged header, truncated values, or a digest that does not match.
    """
    metadata = read_metadata(data)
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:  # a dtype that torch lacks, ...
        raise WireError(f"packed tensors are damaged: {error}", do="send or copy them again") from error
    if metadata.get("digest") != digest(tensors):
        raise WireError("packed tensors do not match their digest", do="send or copy them again")
    return tensors, metadata


def packed_size(tensors: Mapping[str, torch.Tensor], itemsize: int | None = None) -> int:
    """Most bytes that :func:`pack` takes for tensors like these: their values, and a bound of the header.

    Args:
        tensors: only names, shapes and dtypes are looked at.
        itemsize: bytes of one value, where the dtype on the wire is another than that of ``tensors``.
    """
    values = sum(value.numel() * (itemsize or value.element_size()) for value in tensors.values())
    header = sum(len(json.dumps(name)) + 24 * value.ndim + _ENTRY_BYTES for name, value in tensors.items())
    return values + header + _ENTRY_BYTES


def pack(tensors: Mapping[str, torch.Tensor]) -> Bytes:
    """Pack tensors into uint8 ``(bytes,)``."""
    return np.frombuffer(to_bytes(tensors), dtype=np.uint8)


def unpack(packed: Bytes) -> Tensors:
    """Undo :func:`pack`.

    Raises:
        WireError: as :func:`from_bytes`, or the array is not flat uint8.
    """
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise WireError(f"packed tensors must be flat uint8, not {packed.dtype} of {packed.ndim} dimensions")
    return from_bytes(packed.tobytes())[0]
