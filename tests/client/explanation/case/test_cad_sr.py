"""Parts of the Mammography CAD SR on headers and outlines small enough to check by hand."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.explanation.case.cad_library import library_entry
from client.explanation.case.cad_sr import centroid
from client.explanation.case.case import CaseBreast
from client.explanation.case.sources import Source
from common.data.manifest import Breast


def test_the_centroid_is_that_of_the_area_not_of_the_points():
    # A unit square with many points on one side, closed; a right triangle with its centroid at a third.
    square = np.array([[0, 0], [0.2, 0], [0.4, 0], [0.9, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=float) + 5
    assert centroid(square)[0] == pytest.approx([5.5, 5.5])
    assert centroid(np.array([[0, 0], [3, 0], [0, 6], [0, 0]], dtype=float))[0] == pytest.approx([1, 2])


class View:
    view = "MLO"


def entry_of(**attributes):
    original = Dataset()
    original.SOPClassUID, original.SOPInstanceUID = "1.2.3", "1.2.3.4"
    for keyword, value in attributes.items():
        setattr(original, keyword, value)
    item = CaseBreast(Breast("P", "E", "L", "normal", "test", ()), 0.5, (), ())
    entry = library_entry(Source(item, View(), original, 0.0, (), 1))
    return {child.ConceptNameCodeSequence[0].CodeMeaning: child for child in entry.ContentSequence}


def test_side_and_view_come_from_the_manifest_where_the_header_is_silent():
    found = entry_of()
    assert set(found) == {"Image Laterality", "Image View"}
    assert found["Image Laterality"].ConceptCodeSequence[0].CodeMeaning == "Left breast"
    assert found["Image View"].ConceptCodeSequence[0].CodeValue == "399368009"


def test_a_code_of_snomed_rt_becomes_that_of_today_and_an_unknown_one_stays():
    def recorded(value, scheme, meaning):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
        return code

    view = recorded("R-10242", "SRT", "cranio-caudal")
    view.ViewModifierCodeSequence = [recorded("R-102D6", "SRT", "Magnification"), recorded("X1", "99OURS", "Tilted")]
    found = entry_of(ImageLaterality="R", ViewCodeSequence=[view])
    assert found["Image Laterality"].ConceptCodeSequence[0].CodeMeaning == "Right breast"
    code = found["Image View"].ConceptCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("399162004", "SCT")
    modifiers = [one.ConceptCodeSequence[0] for one in found["Image View"].ContentSequence]
    assert [(one.CodeValue, one.CodingSchemeDesignator) for one in modifiers] == [
        ("399163009", "SCT"), ("X1", "99OURS"),
    ]  # fmt: skip


def test_rows_are_vertical_and_columns_horizontal():
    found = entry_of(ImagerPixelSpacing=[0.05, 0.07], PatientOrientation=["A", "F"], StudyDate="20260101")
    assert float(found["Horizontal Pixel Spacing"].MeasuredValueSequence[0].NumericValue) == 0.07
    assert float(found["Vertical Pixel Spacing"].MeasuredValueSequence[0].NumericValue) == 0.05
    assert found["Patient Orientation Row"].TextValue == "A"
    assert found["Study Date"].Date == "20260101"
