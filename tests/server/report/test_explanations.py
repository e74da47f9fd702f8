"""Explanations in report and summary: every table with controls, and a verdict from the paired differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from common.configuration import RunConfig
from common.protocol import COMPARED, CONTROLS, Estimate, ExplanationQuality
from server.report import write_report
from server.report.explanations import MEASURES, agreements, measures, verdicts
from server.report.run_folder import Run, read_run_folder
from server.summary import summarise
from tests.server.report.test_report import _Page

Change = Callable[[str, Callable[[Any], object]], None]
BEATS = {"value": 0.3, "low": 0.1, "high": 0.5}
TOUCHES = {"value": 0.3, "low": -0.01, "high": 0.5}
BY_KEY = {measure.key: measure for measure in MEASURES}


def _sites(evaluation: Any) -> dict[str, Any]:
    found: dict[str, Any] = evaluation["sites"] | evaluation["unseen"]
    return found


@pytest.fixture
def full_run(example_run: Path, change: Change) -> Path:
    """SHAP beats both controls but for RAW's intensity; Grad-CAM beats none. All figures differ by site and method."""

    def measure(evaluation: Any) -> None:
        for number, (site, report) in enumerate(_sites(evaluation).items()):
            for place, (method, score) in enumerate(report["explanations"].items()):
                values = {
                    name: Estimate(0.1 * (place + 1) + 0.01 * number, 0.0, 0.9)
                    for name in ("iou", "dice", "deletion", "insertion", "faithfulness", "sensitivity")
                }
                score["quality"] = asdict(ExplanationQuality(views=24, **values))
                if method not in CONTROLS:
                    against = {"intensity": TOUCHES if site == "RAW" else BEATS, "random": BEATS}
                    score["ahead"] = {name: against if method == "shap" else {
                        "intensity": BEATS, "random": TOUCHES} for name in COMPARED}  # fmt: skip
            report["explanations"]["gradcam"]["agreement"] = {
                "shap": {"value": 0.43, "low": 0.4, "high": 0.5},
                "random": {"value": -0.02, "low": -0.1, "high": 0.1},
            }
            report["explanations"]["intensity"]["agreement"] = {"random": {"value": 0.07, "low": 0.0, "high": 0.1}}

    change("evaluation.json", measure)
    return example_run


def _run(folder: Path) -> Run:
    return read_run_folder(folder)


def test_every_measure_has_a_table_with_both_controls(full_run: Path) -> None:
    assert [measure.key for measure in measures(_run(full_run))] == [measure.key for measure in MEASURES]
    text = _Page(write_report(full_run).read_text()).text
    evaluation = json.loads((full_run / "evaluation.json").read_text())
    for measure in MEASURES:
        assert f"{measure.title} {measure.meaning}; 95 % interval" in text
        table = text.split(f"{measure.title} {measure.meaning}")[1].split("Views scored")[0]
        for method, name in (("gradcam", "Grad-CAM"), ("intensity", "intensity (control)"), ("random", "random (c")):
            assert name in table
            for report in _sites(evaluation).values():
                score = report["explanations"][method]
                value = (score["quality"] if measure.quality else score)[measure.key]["value"]
                assert value is None or f"{value:.2f}" in table, (measure.key, method)


def test_a_run_without_them_has_no_empty_tables(example_run: Path) -> None:
    assert [measure.key for measure in measures(_run(example_run))] == ["pointing_game", "energy_in_box", "randomised"]
    text = _Page(write_report(example_run).read_text()).text
    assert "Insertion" not in text and "Agreement between methods" not in text


@pytest.mark.parametrize("measure", COMPARED)
def test_a_method_beats_both_controls_where_both_intervals_lie_above_zero(full_run: Path, measure: str) -> None:
    found = {verdict.method: verdict for verdict in verdicts(_run(full_run), BY_KEY[measure])}
    assert set(found) == {"Grad-CAM", "deep SHAP"}
    assert found["deep SHAP"].text == (
        "beats both controls at MCS, TUH, CR and UNSEEN; at RAW it does not and explains nothing."
    )
    assert found["Grad-CAM"].text == "does not beat both controls at any site: it explains nothing."
    assert found["Grad-CAM"].nothing and not found["deep SHAP"].nothing


def test_the_page_says_it_in_the_cells_and_under_the_tables(full_run: Path) -> None:
    text = _Page(write_report(full_run).read_text()).text
    sites = 5
    assert text.count("does not beat both controls at any site: it explains nothing.") == len(COMPARED)
    assert text.count("deep SHAP beats both controls at MCS") == len(COMPARED)
    assert "A method that does not beat both controls explains nothing." in text
    cells = text.count(" does not beat both controls") - len(COMPARED) - 1
    assert cells == len(COMPARED) * (sites + 1), "Grad-CAM everywhere, SHAP at RAW"
    assert "above both" not in text, "intervals are compared only where there are no differences"


@pytest.mark.parametrize("measure", ["randomised", "sensitivity"])
def test_what_a_control_cannot_lose_gets_no_verdict(full_run: Path, measure: str) -> None:
    assert verdicts(_run(full_run), BY_KEY[measure]) == []


def test_methods_are_compared_with_each_other_and_controls_not_among_themselves(full_run: Path) -> None:
    found = {(pair.one, pair.other): pair for pair in agreements(_run(full_run))}
    assert set(found) == {("Grad-CAM", "deep SHAP"), ("Grad-CAM", "random (control)")}
    assert found["Grad-CAM", "deep SHAP"].sites["UNSEEN"].value == 0.43
    text = _Page(write_report(full_run).read_text()).text
    assert "Grad-CAM - deep SHAP 0.43 0.40-0.50" in text


def test_the_summary_has_the_figures_under_stable_keys(full_run: Path) -> None:
    evaluation = json.loads((full_run / "evaluation.json").read_text())
    told = summarise(RunConfig(), [], evaluation, None)["explanations"]["RAW"]
    assert told["shap"]["beats_controls"] == dict.fromkeys(COMPARED, False)
    assert told["shap"]["quality"]["insertion"] == evaluation["sites"]["RAW"]["explanations"]["shap"]["quality"][
        "insertion"]["value"]  # fmt: skip
    assert told["shap"]["quality"]["views"] == 24
    assert told["gradcam"]["agreement"] == {"shap": 0.43, "random": -0.02}
    assert told["random"]["beats_controls"] == {}


def test_the_summary_reads_evaluations_of_before_the_measures(example_run: Path, change: Change) -> None:
    def age(evaluation: Any) -> None:
        for report in _sites(evaluation).values():
            for score in report["explanations"].values():
                for key in ("quality", "ahead", "agreement"):
                    score.pop(key)

    change("evaluation.json", age)
    evaluation = json.loads((example_run / "evaluation.json").read_text())
    told = summarise(RunConfig(), [], evaluation, None)["explanations"]["MCS"]["shap"]
    assert told["quality"] == told["beats_controls"] == told["agreement"] == {}
    assert "above both" in _Page(write_report(example_run).read_text()).text
