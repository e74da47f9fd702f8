"""A whole run that trains privately."""

import json

import pytest

from client.privacy import ledger
from client.privacy.accounting import epsilon_of
from common.configuration import read_run

SETTINGS = ["model.norm=group", "privacy.unit=patient", "privacy.noise_multiplier=1", "privacy.patients_per_step=5"]


def test_a_private_run_of_two_sites(phantom, run, tmp_path):
    """Every site trains, weights are patients, and no logit is shifted: nobody was drawn by class."""
    result = run(phantom, tmp_path / "run", *SETTINGS, "federation.rounds=2", "baselines=[local]")
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [sorted(record["train"]) for record in records] == [["MCS", "TUH"]] * 2
    for record in records:
        together = sum(report["patients"] for report in record["train"].values())
        for report in record["train"].values():
            assert report["steps"] == -(-report["patients"] // 5)
            assert report["weight"] == pytest.approx(report["patients"] / together)
    assert read_run(tmp_path / "run" / "config.yaml").training.balanced_sampling
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["prior_log_odds"] == 0.0
    assert not any(record["quarantined"] for record in records)
    baselines = json.loads((tmp_path / "run" / "baselines.json").read_text())
    assert sorted(baselines["local"]) == ["MCS", "TUH"]
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["privacy"]
    assert "Training was not differentially private" not in (tmp_path / "run" / "report.html").read_text()
    for name in ("MCS", "TUH"):
        lines = ledger.read(tmp_path / "run" / "sites" / name)
        assert [(line.round, line.steps) for line in lines] == [
            (record["round"], record["train"][name]["steps"]) for record in records
        ]
        price = epsilon_of([line.noisy for line in lines], lines[0].delta)
        assert told[name] == {"epsilon": pytest.approx(price), "delta": 0.1 / lines[0].patients, "unit": "patient"}
        assert told[name] == records[-1]["train"][name]["privacy"]
        assert f"- {name}: epsilon {price:.4g}" in (tmp_path / "run" / "model-card.md").read_text()
    assert not (tmp_path / "run" / "sites" / "UNSEEN" / ledger.LEDGER).exists()


def test_a_network_that_mixes_patients_is_refused_before_anything_is_read(phantom, run, tmp_path):
    result = run(phantom, tmp_path / "run", *SETTINGS[1:])
    assert result.exit_code == 52 and "model.norm=group" in result.output
    assert not (tmp_path / "run" / "config.yaml").exists()
