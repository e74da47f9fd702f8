"""Which round's model is published, and how records are kept."""

import pytest

from common.errors import CheckpointError
from server.history import RoundRecord, SiteValidation, best_round, read_history, write_history


def record(number, *aucs):
    sites = {f"S{i}": SiteValidation(auc, 0.5, 20, 8) for i, auc in enumerate(aucs)}
    return RoundRecord(number, validation=sites, validated=True)


def test_best_mean_over_sites_wins_and_the_later_of_equals():
    records = [record(1, 0.5, 0.75), record(2, 0.75, 1.0), record(3, 1.0, 0.75), record(4, 0.9, 0.6)]
    assert best_round(records, "validation_auc")[0] == 3
    assert best_round(records, "last") == (4, "last round")


def test_undefined_aucs_do_not_count():
    assert best_round([record(1, 0.8, None), record(2, 0.7, None)], "validation_auc")[0] == 1


def test_a_round_does_not_win_because_a_hard_site_was_absent():
    assert best_round([record(1, 0.9, 0.6), record(2, 0.8)], "validation_auc")[0] == 1
    assert best_round([record(1, 0.9), record(2, 0.8)], "validation_auc")[0] == 1


def test_without_any_auc_the_last_round_is_taken_and_said():
    assert best_round([record(1, None), record(2, None)], "validation_auc") == (2, "last round")


def test_a_detector_is_chosen_by_its_sensitivity():
    """Round 1 ranks breasts better, round 2 finds more lesions."""
    records = [
        RoundRecord(number, validation={"S": SiteValidation(auc, 0.5, 20, 8, froc)}, validated=True)
        for number, auc, froc in ((1, 0.9, 0.3), (2, 0.6, 0.5))
    ]
    assert best_round(records, "validation_froc") == (
        2, "best mean validation sensitivity on the FROC curve over the sites",
    )  # fmt: skip
    assert best_round(records, "validation_auc")[0] == 1
    assert best_round([record(1, 0.5), record(2, 0.4)], "validation_froc") == (2, "last round")


def test_history_round_trip(tmp_path):
    records = [record(1, 0.5, None), record(2, 0.6, 0.7)]
    write_history(tmp_path / "rounds.jsonl", records)
    assert read_history(tmp_path / "rounds.jsonl") == records
    assert read_history(tmp_path / "none.jsonl") == []


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "rounds.jsonl"
    write_history(file, [record(1, 0.5)])
    file.write_text(file.read_text() + '{"round": 2, "sec')
    with pytest.raises(CheckpointError, match=r"rounds.jsonl:2"):
        read_history(file)
