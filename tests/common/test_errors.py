"""Every named error has its own exit code and its own section in the documentation."""

import re
from pathlib import Path

import pytest

from common import errors
from common.atomic import write_text
from common.errors import StorageError, XaiFederationError

PAGE = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()
NAMED = {
    item.__name__: item.exit_code
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, XaiFederationError) and item is not XaiFederationError
}


def test_exit_codes_differ():
    assert len(set(NAMED.values())) == len(NAMED)


def test_documentation_and_code_agree():
    table = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)`", PAGE, re.MULTILINE)}
    sections = {name: int(code) for code, name in re.findall(r"^### (\d+) (\w+)", PAGE, re.MULTILINE)}
    assert table == NAMED
    assert sections == NAMED


def test_an_error_says_what_where_and_what_to_do():
    text = str(StorageError("cannot write x", where="/a/x", do="free some space"))
    assert re.search(r"cannot write x\n\s+where: /a/x\n\s+do:\s+free some space", text)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    file = tmp_path / "f.json"
    write_text(file, "old")
    file.with_name("g").mkdir()
    with pytest.raises(StorageError):
        write_text(tmp_path / "g", "a folder is in the way")
    assert file.read_text() == "old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["f.json", "g"]
