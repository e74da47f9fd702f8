"""The model card says what the model is, on what it was trained, how it did and what it is not for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.report import write_model_card, write_report

Change = Callable[[str, Callable[[Any], object]], None]


def test_the_card_has_its_sections_in_order(example_run: Path) -> None:
    path = write_model_card(example_run)
    assert path == example_run / "model-card.md"
    heads = [line for line in path.read_text().splitlines() if line.startswith("#")]
    sections = ["Intended use", "Data", "Method", "Results", "Explanations", "Limits", "Privacy"]
    assert heads == ["# Model card: demo", *(f"## {section}" for section in sections)]


def test_results_carry_the_intervals_of_the_files(example_run: Path) -> None:
    text = write_model_card(example_run).read_text()
    for site, report in json.loads((example_run / "evaluation.json").read_text())["sites"].items():
        auc = report["auc"]
        assert f"| {site} | {auc['value']:.3f} [{auc['low']:.3f}\u2013{auc['high']:.3f}] |" in text
    assert "| MCS | deep SHAP |" in text and "| MCS | intensity (control) |" in text


def test_use_limits_and_privacy_are_plain(example_run: Path, change: Change) -> None:
    text = write_model_card(example_run).read_text()
    assert "Research, not a medical device." in text
    assert "Trained on simulated images: it says nothing about real mammograms." in text
    assert "Differential privacy: none in this run." in text
    change(
        "summary.json", lambda found: found["privacy"].update(MCS={"epsilon": 3.2, "delta": 1e-5, "unit": "patient"})
    )
    text = write_model_card(example_run).read_text()
    assert "- MCS: epsilon 3.2, delta 1e-05, unit patient" in text
    assert "Outside this guarantee:" in text and "- Explanation scores" in text


def test_own_layers_and_personal_models_of_sites_are_told_apart_from_the_published_model(
    example_run: Path, change: Change
) -> None:
    assert "not in model.safetensors" not in write_model_card(example_run).read_text()
    assert "not in model.safetensors" not in write_report(example_run).read_text()
    config = example_run / "config.yaml"
    config.write_text(config.read_text().replace("shared_parameters: all", "shared_parameters: norm_local"))
    personal = {"auc": {"value": 0.875, "low": 0.8, "high": 0.95}, "loss": 0.4}
    change("evaluation.json", lambda found: found["sites"]["TUH"].update(personal=personal))
    card, page = write_model_card(example_run).read_text(), write_report(example_run).read_text()
    for text in (card, page):
        assert "measured with its own batch norm layers, which are not in model.safetensors" in text
    assert "- TUH: personal model, which stays there, 0.875 [0.800\u20130.950]" in card
    assert "Personal models" in page and "0.875" in page


def test_names_of_others_cannot_break_the_table(example_run: Path) -> None:
    hostile = "a|b <b>\n## c"
    for name in ("sites.json", "evaluation.json", "baselines.json", "rounds.jsonl"):
        path = example_run / name
        path.write_text(path.read_text().replace('"TUH"', json.dumps(hostile)))
    text = write_model_card(example_run).read_text()
    assert "\n## c" not in text and "<b>" not in text
    assert r"| a\|b &lt;b&gt; \#\# c | trained |" in text


def test_a_site_left_out_or_without_auc_is_said(example_run: Path, change: Change) -> None:
    change("sites.json", lambda found: found["CR"].update(left_out="fewer than 8 patients"))
    change("evaluation.json", lambda found: found["sites"]["MCS"].update(auc={"value": None}, malignant=0))
    text = write_model_card(example_run).read_text()
    assert "| CR | left out: fewer than 8 patients |" in text
    assert "| MCS | not defined: no malignant breast in the test set |" in text
