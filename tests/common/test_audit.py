"""The hash chain: recomputed here by hand, and broken in every way."""

import hashlib
import json
import multiprocessing

import pytest

from common.audit import append, read
from common.errors import AuditError


def test_the_chain_is_what_its_description_says(tmp_path):
    log = tmp_path / "a.jsonl"
    for number in range(3):
        append(log, "asked", run="r", bytes=number)
    before = "0" * 64
    for line in log.read_text().splitlines():
        found = json.loads(line)
        stated = found.pop("hash")
        before = hashlib.sha256((before + json.dumps(found, sort_keys=True)).encode()).hexdigest()
        assert stated == before
    assert [entry.details["bytes"] for entry in read(log)] == [0, 1, 2]


def changed(lines):
    return [lines[0], lines[1].replace('"bytes": 1', '"bytes": 9'), *lines[2:]]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (changed, 2),
        (lambda lines: lines[:1] + lines[2:], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [*lines[:3], "{", lines[3]], 4),
    ],
    ids=["changed", "taken out", "begin cut off", "swapped", "put in", "damaged"],
)
def test_every_change_is_found_and_its_line_named(tmp_path, spoil, line):
    log = tmp_path / "a.jsonl"
    for number in range(4):
        append(log, "asked", bytes=number)
    log.write_text("\n".join(spoil(log.read_text().splitlines())) + "\n")
    with pytest.raises(AuditError, match=rf"a\.jsonl:{line}\n"):
        read(log)


def test_a_line_torn_by_a_power_failure_is_taken_out_and_that_is_logged(tmp_path):
    log = tmp_path / "a.jsonl"
    append(log, "asked")
    with log.open("a") as stream:
        stream.write('{"number": 2, "ti')
    append(log, "answered")
    assert [entry.event for entry in read(log)] == ["asked", "torn line taken out", "answered"]
    assert read(log)[1].details == {"bytes": 17}


def _write(log):
    for number in range(40):
        append(log, "asked", bytes=number)


def test_processes_that_write_at_once_do_not_break_the_chain(tmp_path):
    log = tmp_path / "a.jsonl"
    workers = [multiprocessing.get_context("fork").Process(target=_write, args=(log,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read(log)) == 120
