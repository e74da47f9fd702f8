"""The image library of a Mammography CAD SR: what a workstation needs to lay marks over images (PS3.16 TID 4020)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.codedict import Collection, codes
from pydicom.sr.coding import Code

from client.explanation.case.sources import Source
from client.explanation.case.sr_items import MILLIMETRE, code, date, image, number, text, time

DCM = codes.DCM
CONTEXT = "HAS ACQ CONTEXT"
SIDES = {"L": codes.cid6022.LeftBreast, "R": codes.cid6022.RightBreast, "B": codes.cid6022.BothBreasts}
VIEWS = {
    "CC": codes.cid4014.CranioCaudal,
    "MLO": codes.cid4014.MedioLateralObliqueProjection,
    "ML": codes.cid4014.MedioLateralProjection,
    "LM": codes.cid4014.LateroMedial,
}


def library_entry(source: Source) -> Dataset:
    """TID 4020: an image, with what its header tells; side and view otherwise from the manifest."""
    original = source.original
    side = SIDES.get(original.get("ImageLaterality", ""), SIDES[source.item.breast.laterality])
    entry = [code(DCM.ImageLaterality, side, CONTEXT)]
    recorded = (original.get("ViewCodeSequence") or [None])[0]
    view = VIEWS.get(source.view.view) if recorded is None else _current(recorded, codes.cid4014)
    if view is not None:
        modifiers = (recorded.get("ViewModifierCodeSequence") if recorded is not None else None) or []
        inside = [code(DCM.ImageViewModifier, _current(one, codes.cid4015), "HAS CONCEPT MOD") for one in modifiers]
        entry.append(code(DCM.ImageView, view, CONTEXT, inside))
    if "PatientOrientation" in original and original["PatientOrientation"].VM == 2:
        orientation = original.PatientOrientation
        names = (DCM.PatientOrientationRow, DCM.PatientOrientationColumn)
        entry += [text(name, str(value), CONTEXT) for name, value in zip(names, orientation, strict=True)]
    for keyword, name, kind in (
        ("StudyDate", DCM.StudyDate, date),
        ("StudyTime", DCM.StudyTime, time),
        ("ContentDate", DCM.ContentDate, date),
        ("ContentTime", DCM.ContentTime, time),
    ):
        if original.get(keyword):
            entry.append(kind(name, original[keyword].value, CONTEXT))
    spacing = original.get("ImagerPixelSpacing") or original.get("PixelSpacing")
    if spacing:
        entry.append(number(DCM.HorizontalPixelSpacing, float(spacing[1]), MILLIMETRE, CONTEXT))
        entry.append(number(DCM.VerticalPixelSpacing, float(spacing[0]), MILLIMETRE, CONTEXT))
    return image(original, "CONTAINS", entry)


def _current(recorded: Dataset, group: Collection) -> Code:
    """A recorded code as its context group has it now: headers still carry the codes of SNOMED RT."""
    value = recorded.get("CodeValue") or recorded.get("LongCodeValue") or ""
    own = Code(str(value), str(recorded.get("CodingSchemeDesignator", "")), str(recorded.get("CodeMeaning", "")))
    return next((known for known in group.concepts.values() if known == own), own)
