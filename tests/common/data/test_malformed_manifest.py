"""Manifests that a spreadsheet or a hand has spoilt are refused, never read as something else."""

import pytest

from common.data.manifest import read_manifest
from common.errors import ManifestError, MissingColumnError, XaiFederationError
from tests.common.data.conftest import COLUMNS, row, write_manifest

HEADER = ",".join(COLUMNS[:8])
GOOD = "p1,e1,L,CC,a.png,normal,[],train"


def read(folder, text):
    (folder / "manifest.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_manifest(folder, "TUH").breasts


@pytest.mark.parametrize(
    "boxes", ["{}", '""', "null", "true", '{"x0": 1, "y0": 1, "x1": 5, "y1": 5}', "[[1, 2, 3, 4]]", "[" * 100_000]
)
def test_boxes_that_are_no_list_are_not_taken_for_none(tmp_path, boxes):
    with pytest.raises(ManifestError, match="boxes cannot be read") as caught:
        read_manifest(write_manifest(tmp_path, [row(boxes=boxes)]), "TUH")
    assert caught.value.where.endswith("manifest.csv:2")


def test_a_corner_beyond_all_numbers_is_refused(tmp_path):
    boxes = '[{"x0": 1, "y0": 1, "x1": 1' + 400 * "0" + ', "y1": 5}]'
    with pytest.raises(ManifestError, match="boxes cannot be read"):
        read_manifest(write_manifest(tmp_path, [row(boxes=boxes)]), "TUH")


def test_boxes_written_without_quotes_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="more fields than the header") as caught:
        read(tmp_path, f'{HEADER}\n{GOOD}\np2,e2,L,CC,b.png,normal,[{{"x0": 1, "y0": 2, "x1": 3, "y1": 4}}],\n')
    assert caught.value.where.endswith("manifest.csv:3") and "quotes" in caught.value.do


def test_a_surplus_field_is_refused_but_a_trailing_separator_is_not(tmp_path):
    assert len(read(tmp_path, f"{HEADER}\n{GOOD},\n")) == 1
    with pytest.raises(ManifestError, match="more fields"):
        read(tmp_path, f"{HEADER}\n{GOOD},left over\n")


def test_fields_dropped_at_the_end_of_a_row_are_empty(tmp_path):
    (breast,) = read(tmp_path, f"{HEADER}\np1,e1,L,CC,a.png,normal\n")
    assert breast.split == "" and breast.views[0].boxes is None


def test_blank_lines_are_passed_over_and_lines_still_counted(tmp_path):
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, f"{HEADER}\n\n{GOOD}\n,,,,,,,\n{GOOD.replace('p1', '')}\n")
    assert caught.value.where.endswith("manifest.csv:5")


def test_a_column_named_twice_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="column label is there twice"):
        read(tmp_path, f"{HEADER},label\n{GOOD},malignant\n")


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n患者,e1,L,CC,a.png,normal,[],\n".encode("shift_jis"),
        f"{HEADER}\n{GOOD}\n".encode("utf-16"),
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        f"{HEADER}\np1,e1,L,CC,a\0.png,normal,[],\n",
        f"{HEADER}\np1,e1,L,CC,a.png,normal,{'x' * 200_000},\n",
    ],
    ids=["Shift JIS", "UTF-16", "picture", "NUL", "endless field"],
)
def test_what_is_no_csv_in_utf8_is_refused(tmp_path, text):
    with pytest.raises(ManifestError, match="UTF-8"):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["", "\n", HEADER.replace(",", "\t")])
def test_no_header_is_a_missing_column(tmp_path, text):
    with pytest.raises(MissingColumnError):
        read(tmp_path, text)


def test_every_byte_cut_off_a_manifest_gives_rows_or_a_named_error(tmp_path):
    whole = write_manifest(tmp_path, [row(), row("p2", boxes='[{"x0": 1, "y0": 2, "x1": 3, "y1": 4}]')])
    data = (whole / "manifest.csv").read_bytes()
    for length in range(0, len(data), 3):
        try:
            assert len(read(tmp_path, data[:length])) in (1, 2)
        except XaiFederationError as error:
            assert "manifest.csv" in error.where
