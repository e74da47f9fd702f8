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
from common.protocol import M, Refusal, TrainReport, decode, kind_of, packed_array


class SiteRefusedError(WireError):
    """The site declined and named its reason."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"the site refused with {refusal.error}: {refusal.meaning}")
        self.refusal = refusal


class UpdateNotFiniteError(WireError):
    """An update or its report holds NaN or infinity."""


class UpdateTooLargeError(WireError):
    """An update is larger than ``federation.maximum_update_norm``."""


@dataclass(frozen=True)
class Admitted:
    """A reply that passed: float32 update, its L2 norm, its size on the wire and the site's report."""

    update: Tensors
    norm: float
    bytes: int
    report: TrainReport


def answer(reply: RecordDict | WireError, kind: type[M]) -> M:
    """Read the answer of a site.

    Args:
        reply: what ``server.exchange`` yielded.
        kind: dataclass of the expected answer.

    Raises:
        SiteRefusedError: the site declined.
        WireError: the site's program failed, or the message is not of that kind or is malformed.
    """
    if isinstance(reply, WireError):
        raise reply
    if kind_of(reply) == Refusal.__name__:
        raise SiteRefusedError(decode(reply, Refusal))
    return decode(reply, kind)


def admit(
    reply: RecordDict | WireError, model: Mapping[str, torch.Tensor], wire_dtype: str, maximum_norm: float
) -> Admitted:
    """Check a training reply against the model it answers.

    Args:
        reply: what the site answered.
        model: global tensors that were sent.
        wire_dtype: dtype the update must have (``bfloat16`` or ``float32``).
        maximum_norm: largest L2 norm of an acceptable update.

    Raises:
        WireError: malformed message, digest, names, shapes, dtypes, counts.
        SiteRefusedError, UpdateNotFiniteError, UpdateTooLargeError: as named.
    """
    if isinstance(reply, WireError):
        raise reply
    report = answer(reply, TrainReport)
    if report.patients < 1 or report.breasts < report.patients or not 0 <= report.malignant <= report.breasts:
        raise WireError(f"impossible counts: {report.patients} patients, {report.breasts} breasts")
    if report.counted is not None and not 1 <= report.counted <= report.patients:
        raise WireError(f"impossible counts: {report.counted} of {report.patients} patients count")
    if not math.isfinite(report.loss):
        raise UpdateNotFiniteError(f"training loss is {report.loss}")
    packed = packed_array(reply)
    update = unpack(packed)
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
    return Admitted({name: value.float() for name, value in update.items()}, norm, packed.nbytes, report)
