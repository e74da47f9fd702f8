"""A report's folder is whole or not there, whatever happens while it is written."""

from dataclasses import replace

import pytest

from client.explanation.case.choice import Exam
from client.explanation.case.shelf import RECORD, Record, folder_name, put, record_in, records
from common.errors import StorageError

RECORDED = Record("P1", "E1", "L malignant", 0.25, "abc", ("hirescam", "shap"))


def visible(shelf):
    return sorted(str(path.relative_to(shelf)) for path in shelf.rglob("*") if path.is_file())


def test_a_report_comes_back_as_it_was_put(tmp_path):
    put(tmp_path, "E1", [("report.html", b"page"), ("dicom/a.dcm", b"object")], RECORDED)
    assert visible(tmp_path) == ["E1/dicom/a.dcm", f"E1/{RECORD}", "E1/report.html"]
    assert (tmp_path / "E1" / "dicom" / "a.dcm").read_bytes() == b"object"
    assert record_in(tmp_path / "E1") == RECORDED
    assert records(tmp_path) == {"E1": RECORDED}


def test_a_new_report_takes_the_place_of_an_old_one_with_all_its_files(tmp_path):
    put(tmp_path, "E1", [("report.html", b"old"), ("gone.png", b"old")], RECORDED)
    put(tmp_path, "E1", [("report.html", b"new")], replace(RECORDED, methods=("shap",)))
    assert visible(tmp_path) == [f"E1/{RECORD}", "E1/report.html"]
    assert record_in(tmp_path / "E1").methods == ("shap",)


def test_what_breaks_off_leaves_the_earlier_report_and_the_next_one_cleans_up(tmp_path):
    put(tmp_path, "E1", [("report.html", b"old")], RECORDED)

    def broken():
        yield "report.html", b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, "E1", broken(), RECORDED)
    assert (tmp_path / "E1" / "report.html").read_bytes() == b"old"
    assert records(tmp_path) == {"E1": RECORDED}
    put(tmp_path, "E1", [("other.html", b"new")], RECORDED)
    assert visible(tmp_path) == ["E1/other.html", f"E1/{RECORD}"]


@pytest.mark.parametrize("content", ["", "{", '{"patient_id": "P1"}'])
def test_a_folder_without_a_whole_record_is_not_finished(tmp_path, content):
    assert record_in(tmp_path / "nowhere") is None
    (tmp_path / "E1").mkdir()
    (tmp_path / "E1" / "report.html").write_text("of an older release")
    assert record_in(tmp_path / "E1") is None
    (tmp_path / "E1" / RECORD).write_text(content)
    assert record_in(tmp_path / "E1") is None
    assert records(tmp_path) == {}


def test_a_report_is_finished_for_its_model_and_its_methods_alone():
    assert RECORDED.is_of("abc", ("hirescam", "shap"))
    assert not RECORDED.is_of("abd", ("hirescam", "shap"))
    assert not RECORDED.is_of("abc", ("shap", "hirescam"))  # another one is shown first


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "E1").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot put a report into its place"):
        put(tmp_path, "E1", [("report.html", b"page")], RECORDED)


def test_different_exams_have_different_plain_folders():
    names = {
        folder_name(Exam(patient, exam, (0,)))
        for patient in ("P/1", "P1")
        for exam in ("../E", "E", "", "\u75c7\u4f8b")
    }
    assert len(names) == 8
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in names)
