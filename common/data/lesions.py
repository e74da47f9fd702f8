"""Lesions as a detector sees them: boxes in the pixels of the network's input, and what is known of which views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import LABELS, Breast, View
from common.imaging.box import Box


@dataclass(frozen=True)
class Lesions:
    """Of one view: ``boxes`` in pixels of the input, and how many are ``lost``, wholly outside what the input shows."""

    boxes: tuple[Box, ...]
    lost: int

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """The boxes as ``(L, 4)``: x0, y0, x1, y1."""
        return np.array([(box.x0, box.y0, box.x1, box.y1) for box in self.boxes], dtype=np.float64).reshape(-1, 4)


def lesions_of(breast: Breast, view: View, image: CachedImage, kind: str) -> Lesions | None:
    """The lesions of a view, or ``None`` where nobody wrote down whether and where there are any.

    Args:
        breast: whose label counts for boxes without one of their own.
        view: of the breast.
        image: its prepared image.
        kind: ``any``, or ``malignant`` for those alone.
    """
    if view.boxes is None:
        return None
    wanted = [box for box in view.boxes if kind == "any" or _label(box, breast) == "malignant"]
    shown = image.geometry.boxes_to_input(wanted)
    return Lesions(tuple(shown), len(wanted) - len(shown))


def _label(box: Box, breast: Breast) -> str:
    return box.label.lower() if box.label.lower() in LABELS else breast.label


def site_lesions(data: SiteData, kind: str) -> list[list[Lesions | None]]:
    """Lesions of every view of every breast, in the order of ``data.views``."""
    return [
        [lesions_of(breast, view, image, kind) for view, image in zip(breast.views, images, strict=True)]
        for breast, images in zip(data.breasts, data.views, strict=True)
    ]


def for_detection(data: SiteData, kind: str) -> SiteData:
    """What a detector may learn from: views whose lesions are all known and shown.

    A view without boxes is a negative only where it is known to have none. A view whose lesion was cropped away shows
    none, but is no negative either. Breasts left without a view fall away.
    """
    breasts, images = [], []
    for breast, views, found in zip(data.breasts, data.views, site_lesions(data, kind), strict=True):
        kept = [number for number, lesions in enumerate(found) if lesions is not None and not lesions.lost]
        if kept:
            breasts.append(replace(breast, views=tuple(breast.views[number] for number in kept)))
            images.append(tuple(views[number] for number in kept))
    return replace(data, breasts=tuple(breasts), views=tuple(images))


def with_lesion(data: SiteData, kind: str) -> npt.NDArray[np.int64]:
    """1 for breasts with a lesion that the input shows in any view, 0 for the others, ``(breasts,)``."""
    return np.array(
        [int(any(lesions and lesions.boxes for lesions in found)) for found in site_lesions(data, kind)], dtype=np.int64
    )


def patients_with_lesion(data: SiteData, kind: str) -> int:
    """Number of patients with a lesion that the input shows."""
    shown = with_lesion(data, kind)
    return len({breast.patient_id for breast, has in zip(data.breasts, shown, strict=True) if has})


def batch_boxes(data: SiteData, indices: Iterable[int], kind: str) -> list[torch.Tensor]:
    """Boxes ``(L, 4)`` float32 of all views of the given breasts, in the order of ``make_batch``'s images.

    Raises:
        ValueError: a view's lesions are not known; take ``for_detection`` first.
    """
    found = []
    for index in indices:
        breast, images = data.breasts[int(index)], data.views[int(index)]
        for view, image in zip(breast.views, images, strict=True):
            lesions = lesions_of(breast, view, image, kind)
            if lesions is None:
                raise ValueError("a view without known boxes is no example")
            found.append(torch.from_numpy(lesions.corners).float())
    return found
