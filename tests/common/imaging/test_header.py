"""Side and view from the tags that archives really fill; codes against pydicom's copy of context group 4014."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from common.imaging.header import VIEWS, laterality_of, view_of

REAL = Path("../shared/data/dicom")
NAMES = {
    "CranioCaudal": "CC",
    "CaudoCranial": "FB",
    "CranioCaudalExaggeratedLaterally": "XCCL",
    "CranioCaudalExaggeratedMedially": "XCCM",
    "MedioLateralObliqueProjection": "MLO",
    "MedioLateralProjection": "ML",
    "LateroMedial": "LM",
    "LateroMedialOblique": "LMO",
    "SuperolateralToInferomedialOblique": "SIO",
    "InferomedialToSuperolateralOblique": "ISO",
    "TissueSpecimenFromBreast": "SPECIMEN",
}


def coded(value, scheme="SCT"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    header = Dataset()
    header.ViewCodeSequence = [item]
    return header


@pytest.mark.parametrize("name", NAMES)
def test_view_codes_are_those_of_the_standard(name):
    assert view_of(coded(getattr(codes.cid4014, name).value)) == NAMES[name]


def test_no_code_of_the_standard_is_missing():
    group = codes.cid4014
    values = {getattr(group, name).value for name in dir(group) if name[0].isupper()}
    assert values == {code for code in VIEWS if code.isdigit()}
    assert len(VIEWS) == 2 * len(values)


def header(**tags):
    found = Dataset()
    for name, value in tags.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("tags", "side", "view"),
    [
        ({"ImageLaterality": "L", "ViewPosition": "CC"}, "L", "CC"),
        ({"Laterality": "R", "ViewPosition": "mlo"}, "R", "MLO"),
        ({"ImageLaterality": "", "Laterality": "R", "ViewPosition": ""}, "R", None),
        ({"PatientID": "Mass-Training_P_00001_LEFT_MLO", "PatientOrientation": "MLO"}, "L", "MLO"),
        ({"PatientID": "Calc-Test_P_00038_RIGHT_CC_1"}, "R", "CC"),
        ({"PatientOrientation": ["P", "L"]}, None, None),
        ({"ImageLaterality": "B"}, None, None),
        ({"PatientID": "LEFT_RIGHT"}, None, None),
        ({}, None, None),
    ],
)
def test_side_and_view_come_from_whichever_tag_tells_them(tags, side, view):
    assert (laterality_of(header(**tags)), view_of(header(**tags))) == (side, view)


def test_the_side_of_enhanced_objects_stands_in_the_shared_groups():
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = "R"
    group.FrameAnatomySequence = [anatomy]
    assert laterality_of(header(SharedFunctionalGroupsSequence=[group])) == "R"


@pytest.mark.parametrize(
    ("file", "side", "view"),
    [
        ("Clunie_MG_ForPresentation_pixelspacing_testpattern.dcm", "R", "CC"),
        ("WG04_MG1_J2KI.dcm", "L", "MLO"),
    ],
)
def test_real_headers(file, side, view):
    if not REAL.exists():
        pytest.skip("the shared real data are not here")
    found = pydicom.dcmread(REAL / file, stop_before_pixels=True)
    assert (laterality_of(found), view_of(found)) == (side, view)
