"""Case reports as DICOM: an independent validator, independent readers, and an archive that is not ours."""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from typer.testing import CliRunner

from client.cli import app
from client.explanation.case.regions import HOT
from client.explanation.case.sending import parse_archive
from client.site import Site, load_site
from common.errors import SendingError
from common.models.published import read_published
from common.processes import free_port

CAPTURE, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.66.4"
PRESENTATION, REPORT = "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.88.33"
CAD_REPORT = "1.2.840.10008.5.1.4.1.1.88.50"
PIXELMED = [Path("/usr/share/java") / name for name in ("pixelmed.jar", "commons-codec.jar", "hsqldb.jar")]
JAVA = [
    "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
    *(f"-Djdk.xml.xpath{what}Limit=0" for what in ("TotalOp", "ExprOp", "ExprGrp")),
    "-cp", ":".join(map(str, PIXELMED)),
]  # fmt: skip
"""The validator's style sheet has more expressions than Java lets pass; compiling them thoroughly takes longest."""
ITS_OWN = (
    ('Individual Impression/Recommendation")/', "expected HAS PROPERTIES - found CONTAINS"),
    ("Template 4023 CADOperatingPoints", "NUM *", "found 2 content items but expected 1"),
)
"""Errors of the validator itself: words of each."""


@pytest.fixture(scope="module")
def site(phantom, tmp_path_factory):
    return Site("TUH", phantom / "TUH", tmp_path_factory.mktemp("state"))


def call(site, *arguments):
    options = ["--site", site.name, "--state", str(site.state), "explain", "--data", str(site.data)]
    return CliRunner().invoke(app, [*options, "--method", "hirescam", *map(str, arguments)])


@pytest.fixture(scope="module")
def objects(site, untrained):
    """Path to data set of everything that was written for two exams."""
    result = call(site, "--model", untrained, "--worst", 2)
    assert result.exit_code == 0, result.output
    return {path: pydicom.dcmread(path) for path in sorted(site.reports.glob("cases/*/*/dicom/*.dcm"))}


@pytest.fixture(scope="module")
def originals(site):
    found = (pydicom.dcmread(path) for path in site.data.glob("dicom/*.dcm"))
    return {str(one.SOPInstanceUID): one for one in found}


def of_kind(objects, kind):
    return [made for made in objects.values() if made.SOPClassUID == kind]


def source_of(made, originals):
    """The original that an object says it is of."""
    if made.SOPClassUID == SEGMENTATION:
        return originals[str(made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID)]
    return originals[str(made.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID)]


def test_every_view_has_its_objects_and_every_exam_its_report(objects):
    kinds = {kind: len(of_kind(objects, kind)) for kind in (CAPTURE, SEGMENTATION, PRESENTATION, REPORT, CAD_REPORT)}
    assert kinds[CAPTURE] == kinds[SEGMENTATION] == 4
    assert 0 < kinds[PRESENTATION] <= 4
    assert kinds[REPORT] == kinds[CAD_REPORT] == 2
    assert sum(kinds.values()) == len(objects)


def test_patient_and_study_are_those_of_the_original(objects, originals):
    patients = {(str(one.PatientID), str(one.PatientName), one.StudyInstanceUID) for one in originals.values()}
    for made in objects.values():
        assert (str(made.PatientID), str(made.PatientName), made.StudyInstanceUID) in patients
    for kind in (SEGMENTATION, PRESENTATION):
        for made in of_kind(objects, kind):
            original = source_of(made, originals)
            assert made.PatientID == original.PatientID and made.StudyInstanceUID == original.StudyInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy here (Debian: dicom3tools)")
def test_an_independent_validator_finds_no_errors(objects):
    for path in objects:
        result = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        assert "Error" not in result.stdout + result.stderr, (path.name, result.stderr)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("java") is None or not all(path.exists() for path in PIXELMED),
    reason="no PixelMed here (Debian: libpixelmed-java)",
)
def test_a_cad_report_keeps_to_the_templates_row_by_row(objects, tmp_path):
    """PixelMed knows TID 4000 and what it includes, with its context groups and conditions.

    It errs about what these kinds of line say. An impression in an individual impression (TID 4003 row 3) is a property
    for it: the standard writes CONTAINS, and dcmtk reads no container that has properties. It counts both numbers
    of an operating point (TID 4023 rows 8 and 9, named by the axes) for each of the two. dcmtk and dicom3tools accept
    a table of points as a property of a code.
    """
    of_kind(objects, CAD_REPORT)[0].save_as(tmp_path / "cad.dcm", enforce_file_format=True)
    command = [*JAVA, "com.pixelmed.validate.DicomSRValidator"]
    said = subprocess.run([*command, tmp_path / "cad.dcm"], capture_output=True, text=True, timeout=300).stdout
    assert "Found Root Template TID_4000" in said and "IOD validation complete" in said
    wrong = [line for line in said.splitlines() if line.startswith("Error")]
    assert wrong
    assert not [line for line in wrong if not any(all(words in line for words in known) for known in ITS_OWN)]


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="no dcmtk here")
def test_dcmtk_opens_everything(objects):
    for path, made in objects.items():
        if made.SOPClassUID == REPORT:
            shown = subprocess.run(["dsrdump", path], capture_output=True, text=True, check=True).stdout
            assert "Probability of malignancy" in shown and "Breast structure" in shown
        elif made.SOPClassUID == CAD_REPORT:
            shown = subprocess.run(["dsrdump", path], capture_output=True, text=True, check=True).stdout
            assert "Mammography CAD Report" in shown and "selected from 1.2." in shown
        elif made.SOPClassUID == CAPTURE:
            subprocess.run(["dcm2pnm", path, "/dev/null"], capture_output=True, check=True)
        else:
            assert subprocess.run(["dcmdump", path], capture_output=True, check=True).stdout


def polygons_of_report(made):
    """All outlines of a Structured Report with the image they lie on, by walking its content."""
    waiting, found = list(made.ContentSequence), []
    while waiting:
        item = waiting.pop()
        waiting += list(item.get("ContentSequence", []))
        if item.ValueType == "SCOORD":
            (image,) = item.ContentSequence
            found.append((str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID), item.GraphicData))
    return found


def walked(item, path=(1,)):
    """Every content item below one, with the places that lead to it, the root's first."""
    yield path, item
    for place, child in enumerate(item.get("ContentSequence", []), 1):
        yield from walked(child, (*path, place))


def named(item):
    return item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""


def children(item, name):
    return [child for child in item.get("ContentSequence", []) if named(child) == name]


def test_a_cad_report_marks_the_same_regions_by_reference_to_its_library(objects):
    """TID 4000: followed by hand from each mark to the image in the library, its outlines are the other report's."""
    reports = {made.StudyInstanceUID: made for made in of_kind(objects, REPORT)}
    for made in of_kind(objects, CAD_REPORT):
        items = dict(walked(made))
        outlines = []
        for item in items.values():
            if named(item) == "Single Image Finding":
                (centre,), (outline,) = children(item, "Center"), children(item, "Outline")
                (seen,) = outline.ContentSequence
                assert seen.RelationshipType == "SELECTED FROM"
                place = tuple(seen.ReferencedContentItemIdentifier)
                assert tuple(centre.ContentSequence[0].ReferencedContentItemIdentifier) == place
                assert named(items[place[:-1]]) == "Image Library"
                image = str(items[place].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
                outlines.append((image, [*outline.GraphicData]))
                x, y = np.reshape(outline.GraphicData, (-1, 2)).T
                assert x.min() < centre.GraphicData[0] < x.max() and y.min() < centre.GraphicData[1] < y.max()
        other = [(image, [*points]) for image, points in polygons_of_report(reports[made.StudyInstanceUID])]
        assert outlines and sorted(outlines) == sorted(other)


def tracked(items):
    """Of a report's regions: what tracks them, by UID."""
    found = {}
    for item in items:
        for uid in children(item, "Tracking Unique Identifier"):
            (name,) = children(item, "Tracking Identifier")
            found[str(uid.UID)] = name.TextValue
    return found


def test_a_region_is_tracked_by_one_uid_in_every_object(objects):
    """A viewer can lead from a mark to its outline: report, CAD report and presentation state name it alike."""
    of_report = tracked([item for made in of_kind(objects, REPORT) for _, item in walked(made)])
    of_cad = tracked([item for made in of_kind(objects, CAD_REPORT) for _, item in walked(made)])
    drawn_as = {
        str(graphic.TrackingUID): graphic.TrackingID
        for made in of_kind(objects, PRESENTATION)
        for annotation in made.GraphicAnnotationSequence
        for graphic in annotation.GraphicObjectSequence
    }
    assert of_cad and of_cad == drawn_as
    assert of_cad.items() <= of_report.items()  # which tracks breasts, too


def test_a_cad_report_says_the_score_and_what_a_workstation_may_show(objects):
    reports = {made.StudyInstanceUID: made for made in of_kind(objects, REPORT)}
    for made in of_kind(objects, CAD_REPORT):
        items = [item for _, item in walked(made)]
        (probability,) = (
            float(item.MeasuredValueSequence[0].NumericValue)
            for _, item in walked(reports[made.StudyInstanceUID])
            if named(item) == "Probability of malignancy given by a neural network"
        )
        (certainty,) = (item for item in items if named(item) == "Certainty of Impression")
        assert float(certainty.MeasuredValueSequence[0].NumericValue) == pytest.approx(100 * probability, abs=0.01)
        intents = [item for item in items if named(item) == "Rendering Intent"]
        assert {intent.ConceptCodeSequence[0].CodeValue for intent in intents} == {"111151"}  # optional, never required
        points = [item for item in items if named(item) == "CAD Operating Point"]
        (table,) = (item for item in items if named(item) == "CAD Operating Point Table")
        limits = [children(row, "Probability of cancer") for row in children(table, "CAD Operating Point")]
        limits = [float(one[0].MeasuredValueSequence[0].NumericValue) for one in limits if one]
        assert limits == [50, 10, 0]
        allowed = 1 + next(place for place, limit in enumerate(limits) if 100 * probability >= limit)
        of_marks = [
            int(child.MeasuredValueSequence[0].NumericValue)
            for intent in intents
            for child in children(intent, "CAD Operating Point")
        ]
        assert of_marks and set(of_marks) == {allowed}
        assert len(points) == len(of_marks) + len(limits) + 1
        (most,) = (item for item in items if named(item) == "Maximum CAD Operating Point")
        assert int(most.MeasuredValueSequence[0].NumericValue) == len(limits)


def drawn(original, points):
    """Pixels whose centres lie inside an outline."""
    y, x = np.mgrid[: original.Rows, : original.Columns] + 0.5
    inside = Outline(np.reshape(points, (-1, 2))).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
    return inside.reshape(x.shape)


def test_outlines_and_maps_lie_where_the_explainer_looked(objects, originals, site, untrained):
    """Drawn by another hand over the original: overlap with the map of the segmentation, in report and viewer."""
    maps = {}
    for made in of_kind(objects, SEGMENTATION):
        original = source_of(made, originals)
        assert (made.Rows, made.Columns) == (original.Rows, original.Columns)
        values = made.pixel_array / made.MaximumFractionalValue
        assert 0 < values.max() <= 1
        maps[str(original.SOPInstanceUID)] = values
    seen = {uid: np.zeros(values.shape, bool) for uid, values in maps.items()}
    for made in of_kind(objects, REPORT):
        for uid, points in polygons_of_report(made):
            seen[uid] |= drawn(originals[uid], points)
    for uid, outlined in seen.items():
        hot = maps[uid] >= HOT
        if outlined.any():
            assert (outlined & hot).sum() / (outlined | hot).sum() > 0.9
    assert any(outlined.any() for outlined in seen.values())
    for made in of_kind(objects, PRESENTATION):
        uid = str(source_of(made, originals).SOPInstanceUID)
        shown = np.zeros_like(seen[uid])
        for item in made.GraphicAnnotationSequence[0].GraphicObjectSequence:
            assert item.GraphicAnnotationUnits == "PIXEL"
            shown |= drawn(originals[uid], item.GraphicData)
        assert (shown == seen[uid]).all()
    _agrees_with_the_network(maps, site, untrained)


def _agrees_with_the_network(maps, site, untrained):
    """The segmentation is the map of the explainer, on the breast, whichever side it is."""
    published = read_published(untrained)
    data = load_site(site, published.task)
    for breast, views in zip(data.breasts, data.views, strict=True):
        for view, image in zip(breast.views, views, strict=True):
            uid = str(pydicom.dcmread(view.file, stop_before_pixels=True).SOPInstanceUID)
            if uid in maps:
                x0, y0, x1, y1 = image.geometry.crop
                outside = maps[uid].copy()
                outside[y0:y1, x0:x1] = 0
                assert not outside.any() and maps[uid].any()


def test_the_same_report_twice_has_the_same_uids(objects, site, untrained):
    assert call(site, "--model", untrained, "--worst", 2, "--replace").exit_code == 0
    again = {path: pydicom.dcmread(path).SOPInstanceUID for path in objects}
    assert again == {path: made.SOPInstanceUID for path, made in objects.items()}


@pytest.mark.skipif(shutil.which("storescp") is None, reason="no dcmtk here")
def test_an_archive_takes_everything(objects, site, untrained, tmp_path):
    port = free_port()
    with subprocess.Popen(["storescp", "-od", tmp_path, str(port)], stderr=subprocess.DEVNULL) as archive:
        try:
            time.sleep(0.5)
            result = call(site, "--model", untrained, "--worst", 2, "--send", f"127.0.0.1:{port}/ARCHIVE")
        finally:
            archive.kill()
    assert result.exit_code == 0, result.output
    assert f"{len(objects)} DICOM objects sent" in result.output
    stored = [pydicom.dcmread(path) for path in tmp_path.iterdir()]
    assert {made.SOPInstanceUID for made in stored} == {made.SOPInstanceUID for made in objects.values()}


def test_an_archive_that_is_not_there_is_named_and_the_reports_stay(objects, site, untrained):
    result = call(site, "--model", untrained, "--worst", 2, "--send", f"127.0.0.1:{free_port()}/ARCHIVE")
    assert result.exit_code == 47 and "it cannot be reached" in result.output
    assert all(path.exists() for path in objects)


@pytest.mark.parametrize(
    "text", ["", "host", "host:104", "host:0/A", "host:99999/A", "host:104/", "a b:104/A", "h:1/" + "A" * 17]
)
def test_what_is_no_address_of_an_archive(text):
    with pytest.raises(SendingError, match="is no address of an archive"):
        parse_archive(text)


def test_an_address_of_an_archive():
    archive = parse_archive("pacs.local:11112/MY ARCHIVE")
    assert (archive.host, archive.port, archive.title) == ("pacs.local", 11112, "MY ARCHIVE")


def test_an_original_that_is_no_dicom_has_a_report_without_objects(phantom, untrained, tmp_path):
    folder = shutil.copytree(phantom / "TUH", tmp_path / "TUH")
    manifest = (folder / "manifest.csv").read_text()
    for path in (folder / "dicom").glob("*.dcm"):
        pixels = pydicom.dcmread(path).pixel_array.astype(np.uint16)
        Image.fromarray(pixels * 16).save(path.with_suffix(".png"))
    (folder / "manifest.csv").write_text(manifest.replace(".dcm", ".png"))
    site = Site("TUH", folder, tmp_path / "state")
    result = call(site, "--model", untrained, "--worst", 1)
    assert result.exit_code == 0, result.output
    assert list(site.reports.glob("cases/*/*/report.html"))
    assert not list(site.reports.glob("cases/*/*/dicom/*.dcm"))
    result = call(site, "--model", untrained, "--worst", 1, "--send", f"127.0.0.1:{free_port()}/ARCHIVE")
    assert result.exit_code == 47 and "there is nothing to send" in result.output


def test_an_original_without_spacing_has_its_objects_too(phantom, untrained, tmp_path):
    """As real archives hold them; highdicom wants the spacing for the list of images of a report."""
    folder = shutil.copytree(phantom / "TUH", tmp_path / "TUH")
    for path in (folder / "dicom").glob("*.dcm"):
        original = pydicom.dcmread(path)
        for tag in ("ImagerPixelSpacing", "PixelSpacing", "PatientOrientation", "FrameOfReferenceUID"):
            if tag in original:
                del original[tag]
        original.save_as(path)
    site = Site("TUH", folder, tmp_path / "state")
    result = call(site, "--model", untrained, "--worst", 1)
    assert result.exit_code == 0, result.output
    kinds = {pydicom.dcmread(path).SOPClassUID for path in site.reports.glob("cases/*/*/dicom/*.dcm")}
    assert {CAPTURE, REPORT, SEGMENTATION, CAD_REPORT} <= kinds
