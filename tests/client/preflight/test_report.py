"""What a check leaves: a page for the site, JSON and lines without names, a filled cache, exit codes."""

import base64
import io
import json
import re

import pytest
from PIL import Image
from typer.testing import CliRunner

from client import cli
from client.cache_report import clear_cache
from client.site import Site, load_site
from common.configuration import load_task
from common.data import cache as cache_module
from common.errors import PreflightError, PreprocessingVersionError, StorageError
from tests.client.preflight.conftest import SETTINGS

NAMES = re.compile(r"p\d\d|images/|\.dcm|Name\^")


def run(hospital, *arguments):
    hospital.write()
    site = hospital.site
    place = ["--site", "TUH", "--state", str(site.state)]
    return CliRunner().invoke(cli.app, [*place, "check", "--data", str(site.data), *SETTINGS, *arguments])


def test_the_page_shows_pictures_and_files_and_asks_nothing_of_anyone(hospital):
    (hospital.folder / "images/p01-CC.dcm").write_bytes(b"nothing")
    page = hospital.check().report.read_text()
    assert "images/p01-CC.dcm" in page and "cannot read the image" in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) >= 12 and page.count("<svg") == 3
    for picture in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (165, 220)
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|<link", page)


def test_boxes_are_drawn_where_the_lesion_lies(hospital):
    """The box (30, 100, 45, 115) of the stored picture, in sky blue on a picture of 220 rows."""
    hospital.write()
    page = hospital.check().report.read_text()
    first = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="p\d\d L CC, malignant"', page)[0]
    picture = Image.open(io.BytesIO(base64.b64decode(first))).convert("RGB")
    blue = [
        (x, y)
        for x in range(picture.width)
        for y in range(picture.height)
        if (pixel := picture.getpixel((x, y)))[2] - pixel[0] > 80
    ]
    left, right = min(x for x, _ in blue), max(x for x, _ in blue)
    top, bottom = min(y for _, y in blue), max(y for _, y in blue)
    # The breast is 180 rows high and fills the frame but for margins: one stored pixel is about 1.2 of the picture.
    assert (right - left) == pytest.approx(15 * 220 / 184 + 4, abs=4)
    assert (bottom - top) == pytest.approx(15 * 220 / 184 + 4, abs=4)
    assert left == pytest.approx(30 * 220 / 184 - 2, abs=4)


def test_the_terminal_names_no_file_and_no_patient(hospital):
    hospital.add("p00", "ML", label="malignant", seed=50, PatientID="someone", BurnedInAnnotation="YES")
    result = run(hospital)
    assert result.exit_code == 0
    assert "TUH is ready for training" in result.output and "burnt-in" in result.output
    assert not NAMES.search(result.output.replace(str(hospital.site.state), ""))


def test_what_is_wrong_ends_with_its_own_code_and_is_told_first(hospital):
    (hospital.folder / "images/p01-CC.dcm").unlink()
    result = run(hospital)
    assert result.exit_code == PreflightError.exit_code
    assert "images that cannot be read: 1" in result.output and "PreflightError" in result.output


def test_json_is_json_and_nothing_else(hospital):
    hospital.add("odd", seed=50, BurnedInAnnotation="YES")
    result = run(hospital, "--json")
    record = json.loads(result.stdout)
    assert record["ready"] and record["inventory"]["images"] == 25
    codes = {item["code"]: item["count"] for item in record["findings"]}
    assert codes["burnt-in"] == 1
    assert not NAMES.search(json.dumps(record["findings"]))
    full = json.loads((hospital.site.reports / "preflight.json").read_text())
    assert full["affected"]["burnt-in"] == [{"file": "images/odd-CC.dcm", "detail": "line 26: burnt in"}]


def test_json_of_a_site_that_is_not_ready(hospital):
    hospital.rows[0]["label"] = "cancer"
    result = run(hospital, "--json")
    assert result.exit_code == PreflightError.exit_code and json.loads(result.stdout)["ready"] is False


def test_training_finds_every_image_prepared(hospital, monkeypatch):
    hospital.check()

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache_module, "prepare_image", never)
    assert len(load_site(hospital.site, load_task(None, SETTINGS)).breasts) == 12
    hospital.check()  # and so does the next check


def test_a_check_that_was_stopped_goes_on_where_it_stopped(hospital, monkeypatch):
    hospital.write()
    real, decoded = cache_module.prepare_image, []

    def stopping(path, *rest):
        if len(decoded) == 10:
            raise KeyboardInterrupt
        decoded.append(path)
        return real(path, *rest)

    monkeypatch.setattr(cache_module, "prepare_image", stopping)
    with pytest.raises(KeyboardInterrupt):
        hospital.check()
    decoded_before = list(decoded)
    monkeypatch.setattr(cache_module, "prepare_image", lambda path, *rest: decoded.append(path) or real(path, *rest))
    hospital.check()
    assert len(decoded_before) == 10 and len(decoded) == 24 == len(set(decoded))


def test_another_preprocessing_version_is_refused(hospital):
    hospital.write()
    result = run(hospital, "imaging.version=1")
    assert result.exit_code == PreprocessingVersionError.exit_code
    assert "version 1" in result.output and not (hospital.site.state / "cache").exists()


def test_a_run_whose_settings_are_asked_for(hospital, tmp_path):
    assert run(hospital, "--run", "tiny").exit_code == 0
    assert "did you mean 'tiny'" in run(hospital, "--run", "tiney").output


def test_no_site_and_no_manifest_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "xai-client --site TUH" in CliRunner().invoke(cli.app, ["check"]).output
    result = CliRunner().invoke(cli.app, ["--site", "TUH", "check"])
    assert result.exit_code == 11 and "hospitals/TUH" in result.output


def test_the_cache_can_be_looked_at_and_cleared(hospital):
    hospital.check()
    place = ["--site", "TUH", "--state", str(hospital.site.state), "cache"]
    shown = CliRunner().invoke(cli.app, place).output
    assert re.search(r"images +24, .* MB", shown) and "24 of 64 x 48, local_contrast" in shown
    assert CliRunner().invoke(cli.app, [*place, "--info", "--clear"]).exit_code == 2
    assert "deleted 24" in CliRunner().invoke(cli.app, [*place, "--clear"]).output
    assert clear_cache(hospital.site.cache) == "deleted 0 prepared images, 0.0 MB"


def test_a_cache_that_is_too_small_for_a_run_is_said_and_training_does_not_begin(hospital):
    hospital.write()
    small = Site("TUH", hospital.folder, hospital.folder.parent / "state", cache_gb=1e-6)
    with pytest.raises(StorageError, match="prepared images of this run take"):
        load_site(small, load_task(None, SETTINGS))
