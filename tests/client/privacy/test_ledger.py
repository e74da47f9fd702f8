"""The ledger: written before, read whole or not at all, budgets by patients whatever the data set is called."""

import json

import pytest

from client.privacy import ledger, patients
from client.privacy.accounting import epsilon_of
from client.privacy.budget import cost
from client.privacy.ledger import AUDIT, LEDGER, Spend
from client.privacy.plan import Steps
from common import audit
from common.errors import AuditError, LedgerError, StorageError

RUN, OTHER = "a" * 32, "b" * 32
STEPS = Steps(1.0, 0.1, 10)


def spend(state, people, run=RUN, number=1, steps=STEPS, delta=1e-5):
    """Write the line of a round on ``people``."""
    key = patients.make_key(state)
    members = patients.hashed(key, people)
    data = patients.remember(state, members)
    line = Spend(run, number, "classifier", len(members), data, patients.mark(key), steps.noise_multiplier,
                 steps.sample_rate, steps.steps, delta, "prv")  # fmt: skip
    ledger.write(state, line)
    return line


def touching(state, people):
    return ledger.sharing(state, ledger.read(state), patients.hashed(patients.read_key(state), people))


def test_what_was_written_is_read_and_the_chain_is_that_of_the_audit_log(tmp_path):
    lines = [spend(tmp_path, {"p1", "p2"}, number=number) for number in (1, 2)]
    assert ledger.read(tmp_path) == lines
    assert [entry.number for entry in audit.read(tmp_path / LEDGER)] == [1, 2]
    assert lines[0].noisy == STEPS
    notes = [entry for entry in audit.read(tmp_path / AUDIT) if entry.event == ledger.NOTED]
    assert [note.details["number"] for note in notes] == [1, 2]
    assert notes[-1].details["hash"] == ledger.last_hash(tmp_path)


def test_a_site_that_never_trained_privately_has_an_empty_ledger(tmp_path):
    assert ledger.read(tmp_path) == []
    assert ledger.sharing(tmp_path, [], frozenset({"x"})) == []


def test_patients_who_share_share_their_budget_and_disjoint_sets_do_not(tmp_path):
    first = spend(tmp_path, {"p1", "p2"})
    second = spend(tmp_path, {"p2", "p3"}, OTHER)
    third = spend(tmp_path, {"p4"})
    assert touching(tmp_path, {"p1"}) == [first]
    assert touching(tmp_path, {"p2", "new"}) == [first, second]
    assert touching(tmp_path, {"p3", "p4"}) == [second, third]
    assert touching(tmp_path, {"new"}) == []


def test_no_identifier_stands_in_any_file_and_another_site_hashes_otherwise(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for state in (one, two):
        spend(state, {"YAMADA", "SUZUKI"})
    written = b"".join(file.read_bytes() for file in one.rglob("*") if file.is_file())
    assert b"YAMADA" not in written and b"SUZUKI" not in written
    assert ledger.read(one)[0].data != ledger.read(two)[0].data
    for secret in (one / patients.KEY, *(one / patients.SETS).iterdir()):
        assert secret.stat().st_mode & 0o077 == 0


def lines_of(state):
    return (state / LEDGER).read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: lines[:2], "cut off or replaced"),
        (lambda lines: [], "cut off or replaced"),
        (lambda lines: lines[1:], "chain"),
        (lambda lines: [lines[0], lines[1].replace('"steps": 10', '"steps": 1'), lines[2]], "chain"),
        (lambda lines: [lines[0], lines[2]], "chain"),
        (lambda lines: [*lines[:2], lines[2][:-20]], "cut off or replaced"),
        (lambda lines: [lines[0], "nonsense\n", lines[2]], "damaged"),
    ],
    ids=["end cut", "emptied", "begin cut", "changed", "taken out", "torn after it was noted", "damaged"],
)
def test_whatever_is_done_to_the_ledger_is_named_and_nothing_is_written_after_it(tmp_path, spoil, says):
    for number in (1, 2, 3):
        spend(tmp_path, {"p1"}, number=number)
    (tmp_path / LEDGER).write_text("".join(spoil(lines_of(tmp_path))))
    with pytest.raises(LedgerError, match=says):
        ledger.read(tmp_path)


def test_a_ledger_that_was_deleted_or_begun_anew_is_noticed(tmp_path):
    spend(tmp_path, {"p1"})
    (tmp_path / LEDGER).unlink()
    with pytest.raises(LedgerError, match="knows 1 of its lines, of these 0 are there"):
        ledger.read(tmp_path)
    (tmp_path / AUDIT).rename(tmp_path / "aside")
    spend(tmp_path, {"p1"}, steps=Steps(100.0, 0.1, 1))
    (tmp_path / "aside").rename(tmp_path / AUDIT)
    with pytest.raises(LedgerError, match="replaced"):
        ledger.read(tmp_path)


def test_what_was_changed_can_be_accepted_by_a_person_and_the_audit_log_says_so(tmp_path):
    for number in (1, 2):
        spend(tmp_path, {"p1"}, number=number)
    (tmp_path / LEDGER).write_text(lines_of(tmp_path)[0])
    assert ledger.accept(tmp_path) == json.loads(lines_of(tmp_path)[0])["hash"]
    assert [item.round for item in ledger.read(tmp_path)] == [1]
    assert audit.read(tmp_path / AUDIT)[-1].event == ledger.ACCEPTED
    spend(tmp_path, {"p1"}, number=3)
    assert [item.round for item in ledger.read(tmp_path)] == [1, 3]


def test_an_audit_log_that_forgot_is_named_too(tmp_path):
    for number in (1, 2):
        spend(tmp_path, {"p1"}, number=number)
    (tmp_path / AUDIT).unlink()
    with pytest.raises(LedgerError, match="the audit log knows only 0 of the 2 lines"):
        ledger.read(tmp_path)
    audit.append(tmp_path / AUDIT, "asked")
    (tmp_path / AUDIT).write_text((tmp_path / AUDIT).read_text().replace("asked", "asket"))
    with pytest.raises(AuditError):
        ledger.read(tmp_path)


def test_killed_between_ledger_and_audit_log_is_no_damage_and_is_caught_up_with(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    spend(tmp_path, {"p1"})
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ledger, "_note", killed)
        spend(tmp_path, {"p1"}, number=2)
    assert [item.round for item in ledger.read(tmp_path)] == [1, 2]
    spend(tmp_path, {"p1"}, number=3)
    assert [item.round for item in ledger.read(tmp_path)] == [1, 2, 3]
    notes = [entry.details["number"] for entry in audit.read(tmp_path / AUDIT) if entry.event == ledger.NOTED]
    assert notes == [1, 2, 3]


def test_a_line_torn_by_a_power_failure_cost_nothing_and_is_taken_out(tmp_path):
    """It was not on the disk whole, so its noisy steps have not begun."""
    spend(tmp_path, {"p1"})
    with (tmp_path / LEDGER).open("a") as stream:
        stream.write('{"number": 2, "ti')
    assert [item.round for item in ledger.read(tmp_path)] == [1]
    spend(tmp_path, {"p1"}, number=2)
    assert [item.round for item in ledger.read(tmp_path)] == [1, 2]
    assert [entry.event for entry in audit.read(tmp_path / LEDGER)] == [
        ledger.BEGUN,
        "torn line taken out",
        ledger.BEGUN,
    ]


def test_a_full_disk_is_named(tmp_path):
    spend(tmp_path, {"p1"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / LEDGER).mkdir()
    with pytest.raises((StorageError, OSError)):
        spend(tmp_path / "other", {"p1"})


def test_a_key_or_a_set_that_is_gone_or_was_changed_stops_everything(tmp_path):
    line = spend(tmp_path, {"p1", "p2"})
    file, key = tmp_path / patients.SETS / line.data, tmp_path / patients.KEY
    whole, secret = file.read_text(), key.read_bytes()
    members = patients.hashed(secret, {"p1"})

    def named(says):
        with pytest.raises(LedgerError, match=says):
            ledger.sharing(tmp_path, ledger.read(tmp_path), members)

    file.write_text(whole.split()[0])
    named("was changed")
    file.unlink()
    named("is missing")
    file.write_text(whole)
    key.write_bytes(b"x" * 32)
    named("another key")
    key.write_bytes(b"x")
    named("damaged")
    key.unlink()
    named("missing")
    key.write_bytes(secret)
    assert ledger.sharing(tmp_path, ledger.read(tmp_path), members) == [line]


def test_a_cost_is_that_of_the_lines_that_touch_the_patients(tmp_path):
    for number in (1, 2):
        spend(tmp_path, {"p1", "p2"}, number=number)
    spend(tmp_path, {"p2"}, OTHER, steps=Steps(2.0, 0.2, 5), delta=1e-6)
    found = cost(touching(tmp_path, {"p1", "p2"}), RUN, 3, STEPS, 4, 1e-5, "prv")
    other = Steps(2.0, 0.2, 5)
    assert found.run_before == epsilon_of([STEPS] * 2, 1e-5)
    assert found.run_after == epsilon_of([STEPS] * 3, 1e-5)
    assert found.run_planned == epsilon_of([STEPS] * 4, 1e-5)
    assert found.total_delta == 1e-6
    assert found.total_before == epsilon_of([STEPS, STEPS, other], 1e-6)
    assert found.total_after == epsilon_of([*[STEPS] * 3, other], 1e-6)
    assert found.total_planned == epsilon_of([*[STEPS] * 4, other], 1e-6)
    assert cost(touching(tmp_path, {"new"}), RUN, 1, STEPS, 4, 1e-5, "prv").total_before == 0


def test_rounds_that_were_begun_again_are_paid_again_in_plan_and_in_fact(tmp_path):
    for number in (1, 1, 2):
        spend(tmp_path, {"p1"}, number=number)
    before = touching(tmp_path, {"p1"})
    found = cost(before, RUN, 2, STEPS, 3, 1e-5, "prv")
    assert found.run_after == epsilon_of([STEPS] * 4, 1e-5)
    assert found.run_planned == epsilon_of([STEPS] * 5, 1e-5), "rounds 1 and 2 twice, 3 once"
    assert cost(before, RUN, 0, STEPS, 3, 1e-5, "prv").run_planned == epsilon_of([STEPS] * 4, 1e-5)
