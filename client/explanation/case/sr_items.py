"""Content items of DICOM Structured Reports (PS3.3 C.17.3), for reports that highdicom has no class for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

PERCENT, MILLIMETRE = codes.UCUM.Percent, codes.UCUM.Millimeter


def coded(concept: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = concept.value, concept.scheme_designator
    item.CodeMeaning = concept.meaning.replace("\u200b", "")  # PS3.16 as a web page lets long words be broken so
    return item


def container(concept: Code, children: Sequence[Dataset], relation: str = "CONTAINS", template: str = "") -> Dataset:
    """A heading with what stands under it; ``template`` is the number of a DCMR template."""
    item = _item("CONTAINER", concept, relation, children)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        made_by = Dataset()
        made_by.MappingResource, made_by.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [made_by]
    return item


def code(concept: Code, value: Code, relation: str, children: Sequence[Dataset] = ()) -> Dataset:
    """A coded answer."""
    item = _item("CODE", concept, relation, children)
    item.ConceptCodeSequence = [coded(value)]
    return item


def text(concept: Code, value: str, relation: str) -> Dataset:
    """A free answer."""
    item = _item("TEXT", concept, relation)
    item.TextValue = value
    return item


def number(concept: Code, value: float, units: Code, relation: str, children: Sequence[Dataset] = ()) -> Dataset:
    """A number with its units, to five digits."""
    item, measured = _item("NUM", concept, relation, children), Dataset()
    measured.MeasurementUnitsCodeSequence, measured.NumericValue = [coded(units)], f"{value:.5g}"
    item.MeasuredValueSequence = [measured]
    return item


def date(concept: Code, value: str, relation: str) -> Dataset:
    """A date as in an image's header."""
    item = _item("DATE", concept, relation)
    item.Date = value
    return item


def time(concept: Code, value: str, relation: str) -> Dataset:
    """A time of day as in an image's header."""
    item = _item("TIME", concept, relation)
    item.Time = value
    return item


def uid_reference(concept: Code, value: str, relation: str) -> Dataset:
    """A UID."""
    item = _item("UIDREF", concept, relation)
    item.UID = value
    return item


def image(original: Dataset, relation: str, children: Sequence[Dataset] = ()) -> Dataset:
    """An image by its UIDs."""
    item = _item("IMAGE", None, relation, children)
    item.ReferencedSOPSequence = [referenced(original)]
    return item


def shape(
    concept: Code, kind: str, points: npt.NDArray[np.float64], relation: str, children: Sequence[Dataset]
) -> Dataset:
    """A ``kind`` of graphic through points ``(N, 2)``: x, y in pixels, 0 at the corner of the first one."""
    item = _item("SCOORD", concept, relation, children)
    item.GraphicType, item.GraphicData = kind, [float(value) for value in points.ravel()]
    return item


def reference(place: Sequence[int], relation: str) -> Dataset:
    """Another item of the same report, by its place: the root is ``(1,)``, its second child ``(1, 2)``."""
    item = Dataset()
    item.RelationshipType, item.ReferencedContentItemIdentifier = relation, list(place)
    return item


def referenced(original: Dataset) -> Dataset:
    """Class and instance UID of an object."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = original.SOPClassUID, original.SOPInstanceUID
    return item


def _item(kind: str, concept: Code | None, relation: str, children: Sequence[Dataset] = ()) -> Dataset:
    item = Dataset()
    if relation:  # the root has none
        item.RelationshipType = relation
    item.ValueType = kind
    if concept is not None:
        item.ConceptNameCodeSequence = [coded(concept)]
    if children:
        item.ContentSequence = list(children)
    return item
