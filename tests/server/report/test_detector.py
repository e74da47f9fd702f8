"""What report, card and summary say of a detector, from files alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.configuration import RunConfig, read_run, to_yaml
from common.metrics.froc import GRID, RATES
from server.report import write_report
from server.report.findings import at_rate, frocs
from server.report.model_card import write_model_card
from server.report.run_folder import read_run_folder
from server.summary import summarise

Change = Callable[[str, Callable[[Any], object]], None]


def _estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def _curve(best: float) -> dict[str, Any]:
    """Sensitivity rising evenly over the grid to ``best``; breasts are found a tenth more often."""
    values = [best * (place + 1) / len(GRID) for place in range(len(GRID))]
    means = [sum(values[GRID.index(rate)] for rate in RATES) / len(RATES) + more for more in (0.0, 0.1)]
    return {
        "images": 80, "lesions": 50, "breasts": 26, "false_positives": list(GRID),
        "per_lesion": [_estimate(value) for value in values],
        "per_breast": [_estimate(value + 0.1) for value in values],
        "mean_per_lesion": _estimate(means[0]), "mean_per_breast": _estimate(means[1]),
    }  # fmt: skip


@pytest.fixture
def detector_run(example_run: Path, change: Change) -> Path:
    """The example as a detector's: MCS, TUH and UNSEEN with curves, RAW with too few lesions, CR without boxes."""
    config = read_run(example_run / "config.yaml")
    config.task = "detector"
    (example_run / "config.yaml").write_text(to_yaml(config))

    def with_curves(evaluation: Any) -> None:
        for role in ("sites", "unseen"):
            for site, report in evaluation[role].items():
                report["explanations"] = {}
                report["froc"] = {"MCS": _curve(0.91), "TUH": _curve(0.65), "UNSEEN": _curve(0.52)}.get(site)

    def with_froc(baselines: Any) -> None:
        at = {f"{rate:g}": _estimate(0.4) for rate in RATES} | {"mean": _estimate(0.37)}
        baselines["froc"] = {"local": {"MCS": {"TUH": at}}, "pooled": {"TUH": at | {"1": _estimate(0.44)}}}

    change("evaluation.json", with_curves)
    change("baselines.json", with_froc)
    change("sites.json", lambda sites: sites["CR"].update(boxes="unknown"))
    return example_run


def test_the_page_gives_every_site_its_figures_or_the_reason(detector_run: Path) -> None:
    page = write_report(detector_run).read_text()
    assert "Lesions found" in page
    found = frocs(read_run_folder(detector_run), ["MCS", "TUH", "RAW", "CR", "UNSEEN"])
    assert list(found) == ["MCS", "TUH", "UNSEEN"]
    assert f"{at_rate(found['TUH'], 1.0).value:.2f}" == "0.35"
    for rate in RATES:
        assert f"{at_rate(found['MCS'], rate).value:.2f}" in page
    assert "too few patients with a lesion to be told" in page
    assert "boxes unknown: not judged" in page
    for site in ("MCS", "TUH", "UNSEEN"):
        assert f"FROC curve of {site}" in page
    assert "FROC curve of RAW" not in page
    assert "Share of lesions found at one false positive an image" in page and "0.44" in page
    assert "highest score" in page and "probability 0" not in page


def test_what_a_detector_has_not_takes_no_room(detector_run: Path, change: Change) -> None:
    def without(evaluation: Any) -> None:
        for report in (evaluation["sites"] | evaluation["unseen"]).values():
            report.update(calibration=[], calibration_error=None, brier={"value": None, "low": None, "high": None})

    change("evaluation.json", without)
    page = write_report(detector_run).read_text()
    assert "calibration curve" not in page and "Brier" not in page and "ROC and calibration" not in page
    assert "ROC curve of MCS" in page


def test_the_headline_figure_is_the_mean_over_training_sites(detector_run: Path) -> None:
    """Half of 0.91 * 7/13 and 0.65 * 7/13: one false positive is the seventh of thirteen rates."""
    page = write_report(detector_run).read_text()
    assert "Found at 1 false positive an image" in page
    assert f"<strong>{(0.91 + 0.65) / 2 * 7 / 13:.3f}</strong>" in page


def test_the_card_has_the_curve_as_a_table(detector_run: Path) -> None:
    card = write_model_card(detector_run).read_text()
    assert "A detector of masses in mammograms" in card
    assert "IoU of at least 0.2" in card
    assert "Without figures: RAW, CR." in card
    assert "0.49 [0.44" in card  # MCS at one false positive


def test_a_classifiers_page_has_none_of_it(example_run: Path) -> None:
    page = write_report(example_run).read_text()
    assert "Lesions found" not in page and "probability" in page
    assert "FROC" not in write_model_card(example_run).read_text()


def test_the_summary_gives_the_stated_rates(detector_run: Path) -> None:
    evaluation = json.loads((detector_run / "evaluation.json").read_text())
    found = summarise(RunConfig(task="detector"), [], evaluation, None)["froc"]
    assert set(found) == {"MCS", "TUH", "UNSEEN"}
    assert list(found["MCS"]["sensitivity_at"]) == ["0.25", "0.5", "1", "2", "4"]
    assert found["MCS"]["sensitivity_at"]["1"] == pytest.approx(0.91 * 7 / 13)
    assert found["MCS"]["breast_sensitivity_at"]["1"] == pytest.approx(0.91 * 7 / 13 + 0.1)
    assert found["MCS"]["mean_low"] == pytest.approx(found["MCS"]["mean"] - 0.05)
