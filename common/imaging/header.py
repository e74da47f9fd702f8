"""Side, view and its modifiers of a mammogram, from whichever of the several tags of its DICOM header tells them."""

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

MODIFIERS = {
    "399163009": "MAGNIFICATION",
    "399055006": "SPOT",
    "399197002": "ROLLED",  # laterally
    "399226006": "ROLLED",  # medially
    "414493004": "ROLLED",  # inferiorly
    "415670009": "ROLLED",  # superiorly
    "399110001": "TANGENTIAL",
    "399161006": "CLEAVAGE",
    "399011000": "AXILLARY_TAIL",
    "442580003": "AXILLARY_TISSUE",
    "442593008": "INFRAMAMMARY_FOLD",
    "441752004": "ANTERIOR_COMPRESSION",
    "399209000": "IMPLANT_DISPLACED",
    "442581004": "NIPPLE_IN_PROFILE",
    "R-102D6": "MAGNIFICATION",
    "R-102D7": "SPOT",
    "R-102D3": "ROLLED",
    "R-102D4": "ROLLED",
    "R-102CA": "ROLLED",
    "R-102C9": "ROLLED",
    "R-102C2": "TANGENTIAL",
    "R-102D2": "CLEAVAGE",
    "R-102D1": "AXILLARY_TAIL",
    "R-40AB2": "AXILLARY_TISSUE",
    "R-40ABE": "INFRAMAMMARY_FOLD",
    "P2-00161": "ANTERIOR_COMPRESSION",
    "R-102D5": "IMPLANT_DISPLACED",
    "R-40AB3": "NIPPLE_IN_PROFILE",
}
"""Codes of context group 4015: what was done to a view."""
UNKNOWN = "UNKNOWN"
"""A modifier whose code is not in the group."""


def laterality_of(header: Dataset) -> str | None:
    """``L`` or ``R``, or ``None`` where no tag tells.

    Read in this order: Image Laterality, Laterality, the frame's anatomy, the words LEFT or RIGHT in
    Patient ID or Patient Orientation (CBIS-DDSM writes them there). The letters that Patient
    Orientation should hold (``A\\R``: rows run to the front, columns to the right) tell no side: a right
    breast's ``P\\L`` turned by half a circle is a left one's ``A\\R``.
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

    Read in this order: View Code Sequence, View Position (also with the side before it: ``LCC``),
    Patient Orientation or Patient ID where they hold the name of a view instead (CBIS-DDSM).
    """
    for item in header.get("ViewCodeSequence") or ():
        view = VIEWS.get(str(item.get("CodeValue", "")).strip())
        if view:
            return view
    known = set(VIEWS.values())
    position = str(header.get("ViewPosition") or "").strip().upper()
    for name in (position, position[1:] if position[:1] in ("L", "R") else ""):
        if name in known:
            return name
    views = (_words(header.get("PatientOrientation")) | _words(header.get("PatientID"))) & known
    return views.pop() if len(views) == 1 else None


def modifiers_of(header: Dataset) -> frozenset[str]:
    """What was done to the view: names of :data:`MODIFIERS`, and ``UNKNOWN`` for a code that is not there."""
    places = (header, *(header.get("ViewCodeSequence") or ()))
    items = [item for place in places for item in place.get("ViewModifierCodeSequence") or ()]
    codes = [str(item.get("CodeValue", "")).strip() for item in items]
    return frozenset(MODIFIERS.get(code, UNKNOWN) for code in codes if code)


def _frame_lateralities(header: Dataset) -> list[object]:
    groups = [
        *(header.get("SharedFunctionalGroupsSequence") or ()),
        *(header.get("PerFrameFunctionalGroupsSequence") or ()),
    ]
    return [item.get("FrameLaterality") for group in groups for item in group.get("FrameAnatomySequence") or ()]


def _words(value: str | Iterable[str] | None) -> set[str]:
    text = value if isinstance(value, str) else "_".join(str(part) for part in value or ())
    return set(text.upper().replace("-", "_").split("_"))
