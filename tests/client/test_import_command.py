"""``xai-client import`` as it is typed: what it prints, where it writes, how it ends."""

from typer.testing import CliRunner

from client.cli import app
from common.data.manifest import read_manifest
from common.data.sources import SOURCES
from tests.common.data.conftest import row, write_manifest
from tests.common.imaging.mammograms import drawn_breast, write_png


def archive(folder):
    rows = [row("p1", label="malignant", boxes=""), row("p2"), row("p3", "R", "MLO", "benign", split="test")]
    for number, item in enumerate(rows[:2]):
        write_png(folder / item["file"], drawn_breast(seed=number), 8)
    return write_manifest(folder, rows)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_import_counts_what_is_there_and_what_is_left_out(tmp_path):
    done = run("import", "--source", "manifest", "--from", archive(tmp_path / "a"), "--site", "TUH", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "2: 1 malignant, 0 benign, 1 normal" in done.output
    assert "known for 1 images, 0 boxes" in done.output
    assert "its image is not there (1)" in done.output
    assert read_manifest(tmp_path, "TUH").patients == ["p1", "p2"]


def test_import_writes_to_the_hospitals_folder_by_default(tmp_path, monkeypatch):
    archive(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert run("import", "--source", "manifest", "--from", "a", "--site", "TUH").exit_code == 0
    assert (tmp_path / "hospitals" / "TUH" / "manifest.csv").is_file()


def test_a_named_error_has_its_exit_code(tmp_path):
    done = run("import", "--source", "mias", "--from", tmp_path, "--site", "MIAS", "--out", tmp_path / "out")
    assert done.exit_code == 11
    assert run("import", "--source", "mia", "--from", tmp_path, "--site", "MIAS").exit_code == 2
    assert run("import", "--source", "mias", "--from", tmp_path, "--site", "../MIAS").exit_code == 2


def test_every_source_is_listed_with_its_rule():
    listed = run("sources").output
    for name, source in SOURCES.items():
        assert f"{name}: " in listed
        assert source.labels in listed
