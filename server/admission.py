"""Checks on a reply before it may touch the model; a bad one is quarantined by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from flwr.app import RecordDict

from common.errors import WireError
from common.packing import Tensors, unpack
from common.parameters import shared, squared_norm
from common.protocol import Refusal, TrainReport, decode, kind_of, packed_array


class SiteRefusedError(WireError):
    """The site declined and named its reason."""


class UpdateNotFiniteError(WireError):
    """An update or its report holds NaN or infinity."""


class UpdateTooLargeError(WireError):
    """An update is larger than ``federation.maximum_update_norm``."""


@dataclass(frozen=True)
class Admitted:
    """A reply that passed: float32 update, its L2 norm and the site's report."""

    update: Tensors
    norm: float
    report: TrainReport


def refuse_refusal(content: RecordDict) -> None:
    """Turn a site's named refusal into an error.

    Raises:
        SiteRefusedError: the reply is a refusal.
    """
    if kind_of(content) == Refusal.__name__:
        refusal = decode(content, Refusal)
        raise SiteRefusedError(f"the site refused with {refusal.error}: {refusal.meaning}")


def admit(content: RecordDict, model: Mapping[str, torch.Tensor], wire_dtype: str, maximum_norm: float) -> Admitted:
    """Check a training reply against the model it answers.

    Args:
        content: the reply.
        model: global tensors that were sent.
        wire_dtype: dtype the update must have (``bfloat16`` or ``float32``).
        maximum_norm: largest L2 norm of an acceptable update.

    Raises:
        WireError: malformed message, digest, names, shapes, dtypes, counts.
        SiteRefusedError, UpdateNotFiniteError, UpdateTooLargeError: as named.
    """
    refuse_refusal(content)
    report = decode(content, TrainReport)
    if report.patients < 1 or report.breasts < report.patients or not 0 <= report.malignant <= report.breasts:
        raise WireError(f"impossible counts: {report.patients} patients, {report.breasts} breasts")
    if not math.isfinite(report.loss):
        raise UpdateNotFiniteError(f"training loss is {report.loss}")
    update = unpack(packed_array(content))
    expected = shared(model)
    if update.keys() != expected.keys():
        odd = sorted(update.keys() ^ expected.keys())
        raise WireError(f"the update holds other tensors than the model: {', '.join(odd[:3])} ({len(odd)} differ)")
    dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}[wire_dtype]
    for name, value in update.items():
        if value.shape != expected[name].shape:
            raise WireError(f"{name} has shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}")
        if value.dtype != dtype:
            raise WireError(f"{name} is {value.dtype}, expected {dtype}")
        if not torch.isfinite(value).all():
            raise UpdateNotFiniteError(f"{name} holds values that are not finite")
    norm = math.sqrt(squared_norm(update))
    if norm > maximum_norm:
        raise UpdateTooLargeError(f"update norm {norm:.3g} is over the limit {maximum_norm:.3g}")
    return Admitted({name: value.float() for name, value in update.items()}, norm, report)
