"""Side and view from the tags that archives really fill; codes against pydicom's copy of context group 4014."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes

from common.imaging.header import MODIFIERS, VIEWS, laterality_of, modifiers_of, view_of

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
        ({"PatientOrientation": ["A", "R"], "ViewPosition": "CC"}, None, "CC"),
        ({"PatientOrientation": ["A", "FL"], "ImageLaterality": "R"}, "R", None),
        ({"PatientOrientation": ["LEFT", "CC"]}, "L", "CC"),
        ({"Laterality": "L", "ViewPosition": "LMLO"}, "L", "MLO"),
        ({"ViewPosition": "LM"}, None, "LM"),
        ({"ViewPosition": "LMO"}, None, "LMO"),
        ({"ViewPosition": "RCC"}, None, "CC"),
        ({"ImageLaterality": "L", "Laterality": "R"}, "L", None),
        ({"ViewPosition": "AP"}, None, None),
        ({"ImageLaterality": "B"}, None, None),
        ({"PatientID": "LEFT_RIGHT"}, None, None),
        ({}, None, None),
    ],
)
def test_side_and_view_come_from_whichever_tag_tells_them(tags, side, view):
    assert (laterality_of(header(**tags)), view_of(header(**tags))) == (side, view)


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_the_side_of_enhanced_objects_stands_in_the_functional_groups(groups):
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = "R"
    group.FrameAnatomySequence = [anatomy]
    assert laterality_of(header(**{groups: [group]})) == "R"


def test_a_code_of_the_view_goes_before_its_name_and_an_unknown_code_leaves_it_to_the_name():
    found = coded("399368009")
    found.ViewPosition = "CC"
    assert view_of(found) == "MLO"
    found.ViewCodeSequence[0].CodeValue = "99XYZ"
    assert view_of(found) == "CC"


def modified(*values):
    found = coded("399162004")
    items = [Dataset() for _ in values]
    for item, value in zip(items, values, strict=True):
        item.CodeValue = value
    found.ViewCodeSequence[0].ViewModifierCodeSequence = items
    return found


GROUP = {name: getattr(codes.cid4015, name).value for name in dir(codes.cid4015) if name[0].isupper()}


@pytest.mark.parametrize("name", GROUP)
def test_modifiers_are_those_of_the_standard_in_its_words_old_codes_too(name):
    """pydicom's names of the group, and its table from SNOMED RT to CT."""
    (found,) = modifiers_of(modified(GROUP[name]))
    assert found.replace("_", "").lower() in name.lower()
    old = [code for code, new in mapping["SRT"].items() if new == GROUP[name]]
    assert len(old) == 1
    assert modifiers_of(modified(*old)) == {found}


def test_no_modifier_of_the_standard_is_missing_and_an_unknown_one_is_told():
    assert {code for code in MODIFIERS if code.isdigit()} == set(GROUP.values())
    assert modifiers_of(modified("399055006", "399163009", "99")) == {"SPOT", "MAGNIFICATION", "UNKNOWN"}
    assert modifiers_of(modified()) == modifiers_of(Dataset()) == frozenset()


def test_modifiers_beside_the_view_count_too():
    item = Dataset()
    item.CodeValue = "R-102D7"
    assert modifiers_of(header(ViewModifierCodeSequence=[item])) == {"SPOT"}


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
