"""Case reports of a detector: the command, the page in a browser, DICOM for independent validators and readers."""

import csv
import json
import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from PIL import Image
from typer.testing import CliRunner

from client.cli import app
from client.explanation.case.shelf import RECORD
from client.site import Site, load_site
from common.configuration import load_run
from common.models.published import read_any_published
from server.initial import initial_model
from server.publish import write_model
from tests.end_to_end.test_case_dicom import (
    CAD_REPORT,
    CAPTURE,
    ITS_OWN,
    JAVA,
    PIXELMED,
    PRESENTATION,
    REPORT,
    SEGMENTATION,
    children,
    drawn,
    named,
    of_kind,
    polygons_of_report,
    source_of,
    tracked,
    walked,
)
from tests.end_to_end.test_case_reports import CHROMIUM, small_site

SMALL = [
    "model.backbone=resnet8", "imaging.height=128", "imaging.width=96", "detector.channels=16",
    "detector.tower_convolutions=1", "training.threads=1",
]  # fmt: skip
DRIVER = """<script>
const shown = (what) => [...document.querySelectorAll(what)].map((one) => +getComputedStyle(one).opacity);
const maps = () => document.querySelectorAll('.layer.on').length;
const first = document.querySelector('[data-mark]').dataset.view;
const on = () => document.querySelector(`.layer.on[data-view="${first}"]`).dataset;
const seen = [shown('svg.marks')[0], shown('svg.weaker')[0], maps(), on().method, on().mark];
document.getElementById('marks').click();
document.getElementById('weaker').click();
seen.push(shown('svg.marks')[0], shown('svg.weaker')[0]);
document.querySelectorAll('input[name=method]')[1].click();
seen.push(on().method, on().mark);
document.querySelectorAll(`input[name="${first}"]`)[1].click();
seen.push(on().method, on().mark, maps(), document.querySelector(`g.chosen[data-view="${first}"]`).dataset.mark);
document.body.dataset.seen = JSON.stringify(seen);
</script>"""


@pytest.fixture(scope="module")
def site(phantom, tmp_path_factory):
    return Site("TUH", phantom / "TUH", tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A published detector that has not learnt anything: what it marks does not matter."""
    path = tmp_path_factory.mktemp("detector") / "model.safetensors"
    config = load_run("detector-demo", SMALL)
    write_model(path, initial_model(config).state_dict(), config, 3, 0.0)
    return path


def call(site, *arguments):
    options = ["--site", site.name, "--state", str(site.state), "explain", "--data", str(site.data)]
    return CliRunner().invoke(app, [*options, *map(str, arguments)])


@pytest.fixture(scope="module")
def reports(site, detector):
    """Of two exams, at so many false marks that there are several on every view."""
    arguments = ("--worst", 2, "--method", "hirescam", "--method", "layercam", "--false-marks", 4)
    result = call(site, "--model", detector, *arguments)
    assert result.exit_code == 0, result.output
    return sorted(site.reports.glob("cases/*/*/report.html"))


@pytest.fixture(scope="module")
def objects(reports):
    return {path: pydicom.dcmread(path) for report in reports for path in sorted(report.parent.glob("dicom/*.dcm"))}


@pytest.fixture(scope="module")
def originals(site):
    found = (pydicom.dcmread(path) for path in site.data.glob("dicom/*.dcm"))
    return {str(one.SOPInstanceUID): one for one in found}


def test_pages_pictures_records_and_index_tell_of_marks(reports, site):
    assert len(reports) == 2
    index = (reports[0].parents[1] / "index.html").read_text()
    for report in reports:
        record = json.loads((report.parent / RECORD).read_text())
        assert record["false_marks"] == 4 and record["marks"] > 0
        text = report.read_text()
        assert "Not for diagnosis" in text and "probability of malignancy" not in text
        told = [int(number) for number in re.findall(r'class="score">(\d+) mark', text)]
        assert sum(told) == record["marks"] == len(re.findall(r'<g data-view="', text))
        assert re.search(r"Marks are shown <strong>from score 0\.\d\d on</strong>\. On the \d+ test images", text)
        assert f"<td>{record['marks']}</td>" in index and f'href="{report.parent.name}/report.html"' in index
        assert all(np.asarray(Image.open(picture)).std() > 5 for picture in report.parent.glob("*.png"))
        references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)""", text)
        assert references and all(reference.startswith(("data:", "#")) for reference in references)


def test_finished_reports_stay_unless_another_working_point_is_asked_for(reports, site, detector):
    before = [report.stat().st_mtime_ns for report in reports]
    same = ("--model", detector, "--worst", 2, "--method", "hirescam", "--method", "layercam")
    assert "2 of 2 reports are finished already" in call(site, *same, "--false-marks", 4).output
    assert [report.stat().st_mtime_ns for report in reports] == before
    (other,) = [report.parent for report in reports[:1]]
    exam = json.loads((other / RECORD).read_text())["exam_id"]
    shutil.copytree(other, keep := other.parent / ".kept")
    result = call(site, *same[:2], exam, *same[4:], "--false-marks", 0.25)
    assert result.exit_code == 0, result.output
    record = json.loads((other / RECORD).read_text())
    assert record["false_marks"] == 0.25 and reports[0].stat().st_mtime_ns > before[0]
    shutil.rmtree(other)
    keep.rename(other)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_marks_can_be_hidden_and_the_map_of_each_be_chosen_in_a_browser(reports, tmp_path):
    (tmp_path / "page.html").write_text(reports[0].read_text().replace("</body>", f"{DRIVER}</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    shown = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", f"file://{tmp_path / 'page.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    seen = json.loads(re.search(r'data-seen="(.*?)"', shown)[1].replace("&quot;", '"'))
    views = seen[2]
    assert seen == [1, 0, views, "hirescam", "1", 0, 1, "layercam", "1", "layercam", "2", views, "2"]


def test_every_view_has_its_objects_and_every_exam_its_report(objects):
    kinds = [len(of_kind(objects, kind)) for kind in (CAPTURE, SEGMENTATION, PRESENTATION, REPORT, CAD_REPORT)]
    assert kinds[0] == kinds[2] == 4 and 0 < kinds[1] <= 4 and kinds[3:] == [2, 2]
    assert sum(kinds) == len(objects)


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
    of_kind(objects, CAD_REPORT)[0].save_as(tmp_path / "cad.dcm", enforce_file_format=True)
    command = [*JAVA, "com.pixelmed.validate.DicomSRValidator"]
    said = subprocess.run([*command, tmp_path / "cad.dcm"], capture_output=True, text=True, timeout=300).stdout
    assert "Found Root Template TID_4000" in said and "IOD validation complete" in said
    wrong = [line for line in said.splitlines() if line.startswith("Error")]
    assert not [line for line in wrong if not any(all(words in line for words in known) for known in ITS_OWN)]


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="no dcmtk here")
def test_dcmtk_reads_the_reports(objects):
    for path, made in objects.items():
        if made.SOPClassUID in (REPORT, CAD_REPORT):
            shown = subprocess.run(["dsrdump", path], capture_output=True, text=True, check=True).stdout
            assert "Mammography breast density" in shown


def detections(detector, site):
    """What the network detects, in the originals' pixels by UID: worked out anew, corner by corner."""
    import torch

    published = read_any_published(detector)
    data, found = load_site(site, published.task), {}
    for breast, images in zip(data.breasts, data.views, strict=True):
        for view, image in zip(breast.views, images, strict=True):
            pixels = torch.from_numpy(np.asarray(image.pixels, dtype=np.float32))[None, None]
            with torch.inference_mode():
                (one,) = published.model.detections([published.model(pixels)], [False])
            uid = str(pydicom.dcmread(view.file, stop_before_pixels=True).SOPInstanceUID)
            found[uid] = [_on_original(box, image.geometry) for box in one.boxes.tolist()], one.scores.tolist()
    return found


def _on_original(box, geometry):
    x0, y0, x1, y1 = geometry.crop
    across, down = (x1 - x0) / geometry.placed[1], (y1 - y0) / geometry.placed[0]
    left, right = (box[0] * across, box[2] * across)
    if geometry.mirrored:
        left, right = (x1 - x0) - right, (x1 - x0) - left
    return x0 + left, y0 + (box[1] - geometry.top) * down, x0 + right, y0 + (box[3] - geometry.top) * down


def filled(original, box):
    """Pixels whose centres lie in a box."""
    y, x = np.mgrid[: original.Rows, : original.Columns] + 0.5
    return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])


def test_marks_drawn_back_on_the_original_cover_the_detections(objects, originals, detector, site):
    """In TID 1500, in the CAD report and in the presentation state; each detection once, the surest first."""
    truth, several = detections(detector, site), 0
    for made in of_kind(objects, PRESENTATION):
        original = source_of(made, originals)
        uid = str(original.SOPInstanceUID)
        boxes, scores = truth[uid]
        (annotation,) = made.GraphicAnnotationSequence
        graphics, words = annotation.GraphicObjectSequence, annotation.TextObjectSequence
        (report,) = [one for one in of_kind(objects, REPORT) if one.StudyInstanceUID == made.StudyInstanceUID]
        outlines = {tuple(points) for image, points in polygons_of_report(report) if image == uid}
        assert len(outlines) == len(graphics) == len(words)
        for place, (graphic, word) in enumerate(zip(graphics, words, strict=True)):
            assert tuple(graphic.GraphicData) in outlines
            shown, box = drawn(original, graphic.GraphicData), filled(original, boxes[place])
            assert (shown & box).sum() / (shown | box).sum() > 0.95
            assert word.UnformattedTextValue == f"{place + 1}: {scores[place]:.2f}"
            several += 1
    assert several >= 8


def test_a_cad_report_says_of_each_mark_what_it_is_how_sure_and_from_which_point_on(objects, originals):
    """TID 4006 and 4021 by reference to the library; TID 4023: the points are those of FROC."""
    reports = {made.StudyInstanceUID: made for made in of_kind(objects, REPORT)}
    for made in of_kind(objects, CAD_REPORT):
        items = dict(walked(made))
        (table,) = (item for item in items.values() if named(item) == "CAD Operating Point Table")
        axes = [item.ConceptCodeSequence[0].CodeMeaning for item in table.ContentSequence if item.ValueType == "CODE"]
        assert axes == ["False Markers per Image", "Lesion Sensitivity"]
        points = children(table, "CAD Operating Point")
        assert len(points) == 6  # none, 1/4, 1/2, 1, 2, and the 4 that were asked for
        false = [children(point, "False Markers per Image") for point in points[1:]]
        rates = [float(one[0].MeasuredValueSequence[0].NumericValue) for one in false if one]
        assert rates == sorted(rates) and max(rates) <= 4
        found, of_point = {}, []
        for item in items.values():
            if named(item) != "Single Image Finding":
                continue
            assert item.ConceptCodeSequence[0].CodeMeaning == "Mammography breast density"
            (certainty,), (centre,), (outline,) = (
                children(item, name) for name in ("Certainty of Finding", "Center", "Outline")
            )
            corners = np.reshape(outline.GraphicData, (-1, 2))
            assert centre.GraphicData == pytest.approx(list((corners.min(axis=0) + corners.max(axis=0)) / 2), abs=1e-3)
            place = tuple(outline.ContentSequence[0].ReferencedContentItemIdentifier)
            image = str(items[place].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            found[image, tuple(outline.GraphicData)] = float(certainty.MeasuredValueSequence[0].NumericValue) / 100
            (allowed,) = children(children(item, "Rendering Intent")[0], "CAD Operating Point")
            of_point.append((-found[image, tuple(outline.GraphicData)], allowed.MeasuredValueSequence[0].NumericValue))
        other = {}
        for _, item in walked(reports[made.StudyInstanceUID]):
            for shape in children(item, "Image Region"):
                (score,) = children(item, "Score of a mark, 0 to 1, given by a neural network")
                image = str(shape.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
                other[image, tuple(shape.GraphicData)] = float(score.MeasuredValueSequence[0].NumericValue)
        assert found.keys() == other.keys()
        assert [found[key] for key in found] == pytest.approx([other[key] for key in found], abs=1e-4)
        allowed = [point for _, point in sorted(of_point)]
        assert allowed == sorted(allowed)  # the surer, the earlier


def test_a_mark_is_tracked_by_one_uid_in_every_object(objects):
    of_report = tracked([item for made in of_kind(objects, REPORT) for _, item in walked(made)])
    of_cad = tracked([item for made in of_kind(objects, CAD_REPORT) for _, item in walked(made)])
    assert of_cad and of_cad.items() <= of_report.items()
    assert all(re.fullmatch(r"[LR] (CC|MLO) \d mark \d+", name) for name in of_cad.values())


@pytest.mark.parametrize("method", ["shap", "scorecam", "expected_gradients"])
def test_a_method_that_cannot_explain_a_detector_is_refused_before_any_work(site, detector, method):
    result = call(site, "--model", detector, "--worst", 1, "--method", "hirescam", "--method", method)
    assert result.exit_code == 50
    assert f"{method} explains classifiers" in result.output.replace("\n", " ")
    assert "marks" not in result.output  # nothing was read


@pytest.mark.parametrize(("rate", "code"), [("nan", 46), ("inf", 46), ("-1", 2), ("many", 2)])
def test_a_rate_of_false_marks_is_a_number(site, detector, rate, code):
    result = call(site, "--model", detector, "--worst", 1, "--false-marks", rate)
    assert result.exit_code == code and "--false-marks" in result.output.replace("\n", " ")


def test_a_classifier_makes_no_marks(site, untrained):
    result = call(site, "--model", untrained, "--worst", 1, "--false-marks", 1)
    assert result.exit_code == 46 and "a classifier makes no marks" in result.output


def without_boxes(site):
    manifest = site.data / "manifest.csv"
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with manifest.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "boxes": "", "split": "test"} for row in rows)


def test_a_site_that_knows_no_lesion_is_told_what_cannot_be_said(phantom, detector, tmp_path):
    site, files = small_site(phantom, tmp_path / "TUH", 4)
    without_boxes(site)
    first = next(iter(files))
    result = call(site, "--model", detector, "--worst", 1)
    assert result.exit_code == 46 and "no test patients whose lesions are known" in result.output.replace("\n", " ")
    result = call(site, "--model", detector, "--method", "hirescam", "--false-marks", 1, first)
    assert result.exit_code == 0, result.output
    text = next(site.reports.glob("cases/*/*/report.html")).read_text()
    assert "Where lesions are is not known at this site" in text and "doctors' boxes not known" in text
    assert "on a lesion:" not in text and "hits none" not in text
    (report,) = (pydicom.dcmread(path) for path in site.reports.glob("cases/*/*/dicom/cad-*.dcm"))
    assert not [item for _, item in walked(report) if named(item) in ("Lesion Sensitivity", "False Markers per Image")]


def test_an_exam_without_a_mark_says_so_and_its_objects_are_valid(phantom, detector, tmp_path):
    site, files = small_site(phantom, tmp_path / "TUH", 4)
    first = next(iter(files))
    result = call(site, "--model", detector, "--method", "hirescam", "--false-marks", 0, first)
    assert result.exit_code == 0, result.output
    text = next(site.reports.glob("cases/*/*/report.html")).read_text()
    assert ">No marks</span>" in text and "no mark" in text and "<h3>The marks</h3>" not in text
    made = {path: pydicom.dcmread(path) for path in site.reports.glob("cases/*/*/dicom/*.dcm")}
    assert not of_kind(made, PRESENTATION) and not of_kind(made, SEGMENTATION)
    (cad,) = of_kind(made, CAD_REPORT)
    (summary,) = [item for _, item in walked(cad) if named(item) == "CAD Processing and Findings Summary"]
    assert summary.ConceptCodeSequence[0].CodeValue == "111241"  # all algorithms succeeded; without findings
    if shutil.which("dciodvfy"):
        for path in made:
            result = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
            assert "Error" not in result.stdout + result.stderr, (path.name, result.stderr)


def test_an_image_that_is_gone_is_named_and_the_others_are_explained(phantom, detector, tmp_path):
    site, files = small_site(phantom, tmp_path / "TUH", 4)
    first, second = list(files)[:2]
    load_site(site, read_any_published(detector).task)
    original = files[first][0]
    original.rename(tmp_path / "away")
    result = call(site, "--model", detector, "--method", "hirescam", first, second)
    assert result.exit_code == 46
    assert f"1 of 2 exams could not be explained, first {first}" in result.output.replace("\n", " ")
    assert len(list(site.reports.glob(f"cases/*/[!.]*/{RECORD}"))) == 1
