"""Side and view of a mammogram from its DICOM header, from whichever of the several tags tells them."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset

VIEWS = {
    "399162004": "CC",
    "399196006": "FB",  # from below: caudo-cranial
    "399192008": "XCCL",
    "399101009": "XCCM",
    "399368009": "MLO",
    "399260004": "ML",
    "399352003": "LM",
    "399099002": "LMO",
    "399188001": "SIO",
    "441555000": "ISO",
    "127457009": "SPECIMEN",
    "R-10242": "CC",
    "R-10244": "FB",
    "R-1024A": "XCCL",
    "R-1024B": "XCCM",
    "R-10226": "MLO",
    "R-10224": "ML",
    "R-10228": "LM",
    "R-10230": "LMO",
    "R-102D0": "SIO",
    "R-40AAA": "ISO",
    "G-8310": "SPECIMEN",
}
"""Codes of DICOM PS3.16 context group 4014, SNOMED CT and the older SNOMED RT, and the names of its table."""


def laterality_of(header: Dataset) -> str | None:
    """``L`` or ``R``, or ``None`` where no tag tells.

    Read in this order: Image Laterality, Laterality, the frame's shared anatomy, the words LEFT or
    RIGHT in Patient ID or Patient Orientation (CBIS-DDSM writes them there).
    """
    for value in (header.get("ImageLaterality"), header.get("Laterality"), *_frame_lateralities(header)):
        side = str(value or "").strip().upper()
        if side in ("L", "R", "LEFT", "RIGHT"):
            return side[0]
    words = _words(header.get("PatientID")) | _words(header.get("PatientOrientation"))
    sides = words & {"LEFT", "RIGHT"}
    return sides.pop()[0] if len(sides) == 1 else None


def view_of(header: Dataset) -> str | None:
    """``CC``, ``MLO``, … or ``None`` where no tag tells.

    Read in this order: View Code Sequence, View Position, Patient Orientation or Patient ID where
    they hold the name of a view instead (CBIS-DDSM).
    """
    for item in header.get("ViewCodeSequence") or ():
        view = VIEWS.get(str(item.get("CodeValue", "")).strip())
        if view:
            return view
    known = set(VIEWS.values())
    position = str(header.get("ViewPosition") or "").strip().upper()
    if position in known:
        return position
    views = (_words(header.get("PatientOrientation")) | _words(header.get("PatientID"))) & known
    return views.pop() if len(views) == 1 else None


def _frame_lateralities(header: Dataset) -> list[object]:
    groups = header.get("SharedFunctionalGroupsSequence") or ()
    return [item.get("FrameLaterality") for group in groups for item in group.get("FrameAnatomySequence") or ()]


def _words(value: str | Iterable[str] | None) -> set[str]:
    text = value if isinstance(value, str) else "_".join(str(part) for part in value or ())
    return set(text.upper().replace("-", "_").split("_"))
