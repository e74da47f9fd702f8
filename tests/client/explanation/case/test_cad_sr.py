"""Parts of the Mammography CAD SR on headers and outlines small enough to check by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.explanation.case.cad_library import library_entry
from client.explanation.case.cad_sr import cad_report, centroid
from client.explanation.case.case import CaseBreast
from client.explanation.case.regions import Region
from client.explanation.case.reliability import Reliability
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


SQUARE = np.array([[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]], dtype=float)
NONE = Reliability(np.ones(1), np.ones(0))
OTHERS = Reliability(np.array([0.9, 0.3, 0.05]), np.array([0.6, 0.2, 0.02, 0.01]))


def breast(side, probability):
    return CaseBreast(Breast("P", "E", side, "normal", "test", ()), probability, (), ())


def source_of(item, number, *peaks):
    original = Dataset()
    original.SOPClassUID, original.SOPInstanceUID = "1.2.3", f"1.2.3.{item.breast.laterality == 'R':d}.{number}"
    original.StudyInstanceUID, original.SeriesInstanceUID, original.PatientID = "1.2", f"1.2.{number}", "P"
    return Source(item, View(), original, 1.0, tuple(Region(SQUARE, peak) for peak in peaks), number)


def found(item, name):
    """Items of a name below one, in order."""
    own = [item] if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeMeaning == name else []
    return own + [one for child in item.get("ContentSequence", []) for one in found(child, name)]


def numbers(items):
    return [float(item.MeasuredValueSequence[0].NumericValue) for item in items]


def made_of(sources, others=OTHERS):
    return cad_report(sources, SimpleNamespace(digest="ab" * 32, round=3), "hirescam", others, 9001)


def test_marks_of_both_breasts_lead_to_their_own_images_and_points():
    left, right = breast("L", 0.02), breast("R", 0.4)
    made = made_of([source_of(left, 1), source_of(left, 2, 1.0), source_of(right, 1, 1.0, 0.6)])
    places = [tuple(item.ContentSequence[0].ReferencedContentItemIdentifier) for item in found(made, "Outline")]
    assert places == [(1, 2, 2), (1, 2, 3), (1, 2, 3)]
    assert numbers(found(made, "Certainty of Impression")) == [2, 40]
    marks = [found(mark, "CAD Operating Point")[0] for mark in found(made, "Single Image Finding")]
    assert numbers(marks) == [3, 2, 2]
    (overall, *each) = [item.TextValue for item in found(made, "Impression Description")]
    assert "left breast 2 %, right breast 40 %" in overall
    assert len(each) == 2 and "left breast" in each[0] and "right breast" in each[1]
    series = made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [len(one.ReferencedSOPSequence) for one in series] == [2, 1]


def test_operating_points_count_the_sites_other_breasts():
    """At 50 % one of four others is shown (0.6), at 10 % two (0.6, 0.2); of the malignant one, then two of three."""
    made = made_of([source_of(breast("L", 0.5), 1, 1.0)])
    assert numbers(found(made, "Case Specificity")) == [75, 50, 0]
    words = [item.TextValue for item in found(made, "CAD Operating Point Description")]
    assert "1 of 3 malignant and 1 of 4 others" in words[1]
    assert "2 of 3 malignant and 2 of 4 others" in words[2]
    assert "3 of 3 malignant and 4 of 4 others" in words[3]
    assert not found(made_of([source_of(breast("L", 0.5), 1, 1.0)], NONE), "Case Specificity")


def test_without_a_region_the_score_stands_and_nothing_is_marked():
    made = made_of([source_of(breast("L", 0.3), 1)])
    assert not found(made, "Single Image Finding") and not found(made, "Individual Impression/Recommendation")
    (summary,) = found(made, "CAD Processing and Findings Summary")
    assert summary.ConceptCodeSequence[0].CodeValue == "111241"  # all algorithms succeeded; without findings
    assert "left breast 30 %" in found(made, "Impression Description")[0].TextValue


def test_one_uid_has_one_content():
    """The table of points counts other breasts of the site, so another count is another object."""
    some = [source_of(breast("L", 0.5), 1, 1.0)]
    first, again, other = made_of(some), made_of(some), made_of(some, Reliability(np.ones(3), np.ones(4)))
    assert first.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID


def test_units_of_points_are_the_templates_own():
    """TID 4006 and 4023 print a letter for the number of points."""
    made = made_of([source_of(breast("L", 0.5), 1, 1.0)])
    (mark,) = found(made, "Single Image Finding")
    units = [
        item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0] for item in found(mark, "CAD Operating Point")
    ]
    assert [(unit.CodeValue, unit.CodeMeaning) for unit in units] == [("{1:n}", "range: 1:n")]


def test_who_gave_the_patient_her_identifier_goes_with_it():
    source = source_of(breast("L", 0.5), 1)
    assert "IssuerOfPatientID" not in made_of([source])
    source.original.IssuerOfPatientID = "TUH"
    assert made_of([source]).IssuerOfPatientID == "TUH"
