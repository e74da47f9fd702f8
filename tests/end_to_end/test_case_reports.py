"""``xai-client explain`` with a published model: pages as a radiologist opens them, pictures, and what is refused."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from client.cli import app
from client.explanation.case.case import make_case
from client.explanation.case.choice import exams
from client.explanation.case.shelf import RECORD
from client.site import Site, load_site
from common.configuration import load_run
from common.imaging.box import Box
from common.locking import held
from common.metrics.explanation import mask_of_boxes, overlap
from common.models.published import read_published
from server.initial import initial_model
from server.publish import write_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = """<script>
const layer = () => [...document.querySelectorAll('.layer')].map((one) => +getComputedStyle(one).opacity);
const boxes = () => +getComputedStyle(document.querySelector('.film svg')).opacity;
const seen = [layer(), boxes()];
const slider = document.getElementById('opacity');
slider.value = 20; slider.dispatchEvent(new Event('input'));
document.getElementById('boxes').click();
seen.push(layer(), boxes());
document.querySelectorAll('input[name=method]')[1].click();
seen.push(layer());
document.body.dataset.seen = JSON.stringify(seen);
</script>"""


@pytest.fixture(scope="module")
def site(phantom, tmp_path_factory):
    return Site("TUH", phantom / "TUH", tmp_path_factory.mktemp("state"))


def call(site, *arguments):
    options = ["--site", site.name, "--state", str(site.state), "explain", "--data", str(site.data)]
    return CliRunner().invoke(app, [*options, *map(str, arguments)])


@pytest.fixture(scope="module")
def reports(site, untrained):
    result = call(site, "--model", untrained, "--worst", 2)
    assert result.exit_code == 0, result.output
    return sorted((site.state / "reports" / "cases").glob("*/*/report.html"))


def test_the_worst_exams_have_a_page_pictures_and_a_line_in_the_index(site, reports):
    assert len(reports) == 2
    index = (reports[0].parents[1] / "index.html").read_text()
    for report in reports:
        assert f'href="{report.parent.name}/report.html"' in index
        pictures = sorted(report.parent.glob("*.png"))
        assert len(pictures) >= 2
        assert all(np.asarray(Image.open(picture)).std() > 5 for picture in pictures)
        text = report.read_text()
        assert "Not for diagnosis" in text
        assert "probability of malignancy" in text
        assert "what the doctors marked" in text or "nothing marked by the doctors" in text or "not known" in text


def test_the_page_asks_nothing_of_the_outside(reports):
    text = reports[0].read_text()
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)""", text)
    assert references
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert "default-src 'none'" in text


def test_a_second_call_leaves_finished_reports_and_replace_makes_them_anew(site, reports, untrained):
    before = reports[0].stat().st_mtime_ns
    assert call(site, "--model", untrained, "--worst", 2).exit_code == 0
    assert reports[0].stat().st_mtime_ns == before
    assert call(site, "--model", untrained, "--worst", 2, "--replace").exit_code == 0
    assert reports[0].stat().st_mtime_ns > before


def small_site(phantom, folder, number):
    """A site of so many exams of TUH, both classes among them; and the files of each."""
    with (phantom / "TUH" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    of_exam = {}
    for row in sorted(rows, key=lambda row: row["label"] != "malignant"):
        of_exam.setdefault(row["exam_id"], []).append(row)
    names = list(of_exam)
    chosen = [*names[: number // 2], *names[-(number - number // 2) :]]
    (folder / "dicom").mkdir(parents=True)
    kept = [row for name in chosen for row in of_exam[name]]
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    for row in kept:
        shutil.copy(phantom / "TUH" / row["file"], folder / row["file"])
    files = {name: [folder / row["file"] for row in of_exam[name]] for name in chosen}
    return Site("TUH", folder, folder.parent / "state"), files


def finished(site):
    """Folder of every finished report to the time of its page."""
    found = site.reports.glob(f"cases/*/[!.]*/{RECORD}")
    return {path.parent: (path.parent / "report.html").stat().st_mtime_ns for path in found}


def test_a_batch_that_is_killed_goes_on_where_it_stopped(phantom, untrained, tmp_path):
    site, files = small_site(phantom, tmp_path / "TUH", 4)
    command = [sys.executable, "-m", "client.cli", "--site", site.name, "--state", site.state, "explain", "--all",
               "--data", site.data, "--model", untrained, "--method", "hirescam"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as batch:
        deadline = time.monotonic() + 300
        while not finished(site) and batch.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        batch.kill()  # SIGKILL: nothing of it can clean up
    before = finished(site)
    assert 1 <= len(before) < 4
    shown = {path for path in site.reports.glob("cases/*/[!.]*") if path.is_dir()}
    assert shown == set(before)  # no half report under a report's name
    arguments = ("--model", untrained, "--method", "hirescam", "--all")
    result = call(site, *arguments)
    assert result.exit_code == 0, result.output
    assert f"{len(before)} of 4 reports are finished already" in result.output
    after = finished(site)
    assert len(after) == 4 and before.items() <= after.items()
    assert not list(site.reports.glob("cases/*/.*.partial"))
    index = next(site.reports.glob("cases/*/index.html")).read_text()
    assert all(f'href="{folder.name}/report.html"' in index for folder in after)

    with held(next(iter(after)).parent / ".lock", "another"):
        result = call(site, *arguments)
    assert result.exit_code == 33 and "explain with this model runs already" in result.output

    first, second = list(files)[:2]
    original = files[first][0].read_bytes()
    files[first][0].unlink()
    result = call(site, "--model", untrained, "--method", "hirescam", "--replace", first, second)
    assert result.exit_code == 46
    assert f"1 of 2 exams could not be explained, first {first}" in result.output
    files[first][0].write_bytes(original)
    renewed = {folder for folder, moment in finished(site).items() if moment != after[folder]}
    assert [folder.name.rsplit("-", 1)[0] for folder in renewed] == [re.sub("[^A-Za-z0-9]+", "-", second)]


def test_a_map_comes_back_onto_the_original_where_the_doctors_box_is(site, untrained):
    """An explainer that marks the boxes in the network's input must mark them in the original picture too."""
    published = read_published(untrained)
    data = load_site(site, published.task)
    marked = [exam for exam in exams(data) if any(view.boxes for view in data.breasts[exam.breasts[0]].views)]
    assert {data.breasts[exam.breasts[0]].laterality for exam in marked} == {"L", "R"}
    for exam in marked[:8]:
        index = exam.breasts[0]
        inputs = [
            mask_of_boxes(image.pixels.shape, image.geometry.boxes_to_input(view.boxes or ()))
            for view, image in zip(data.breasts[index].views, data.views[index], strict=True)
        ]
        found = np.stack(inputs).astype(np.float32)
        case = make_case(published, {"boxes": lambda model, images, found=found: found}, data, exam, seed=0)
        for view in case.breasts[0].views:
            if view.boxes:
                truth = mask_of_boxes(view.grey.shape, [Box(*corners) for corners in view.boxes])
                assert overlap(view.maps["boxes"], truth).iou > 0.5  # a pixel of this small input is large


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_slider_switch_and_boxes_work_in_a_browser(reports, tmp_path):
    page = reports[0].read_text()
    page = page.replace("</body>", f"{DRIVER}</body>")
    (tmp_path / "page.html").write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    shown = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", f"file://{tmp_path / 'page.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    seen = re.search(r'data-seen="(.*?)"', shown)[1].replace("&quot;", '"')
    at_first, boxes_at_first, fainter, boxes_off, switched = json.loads(seen)
    assert at_first[0] == pytest.approx(0.7)
    assert at_first[1] == 0
    assert boxes_at_first == 1
    assert fainter[0] == pytest.approx(0.2)
    assert boxes_off == 0
    assert switched[0] == 0
    assert switched[1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ((), "which exams?", 46),
        (("NOBODY",), "has no usable exam, patient or image 'NOBODY'", 46),
    ],
)
def test_bad_requests_are_named(site, untrained, arguments, words, code):
    result = call(site, *arguments, "--model", untrained)
    assert result.exit_code == code
    assert words in result.output


def test_a_detector_is_refused_by_name(site, tmp_path):
    config = load_run("detector-demo", ["model.backbone=resnet10"])
    write_model(tmp_path / "model.safetensors", initial_model(config).state_dict(), config, 3, 0.0)
    result = call(site, "--model", tmp_path / "model.safetensors", "--worst", 1)
    assert result.exit_code == 20
    assert "its task is detector" in result.output


def test_a_file_that_is_no_published_model_is_named(site, tmp_path, untrained):
    for name, content in (
        ("absent", None),
        ("text", b"hello"),
        ("cut", untrained.read_bytes()[:-9]),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        result = call(site, "--model", path, "--worst", 1)
        assert result.exit_code == 20, result.output
        assert "WeightsFileError" in result.output
        assert str(path) in result.output.replace("\n", "")
