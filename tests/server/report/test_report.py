"""The report shows what the files say, loads nothing, escapes everything, and copes with what is not there."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.report import write_report
from tests.server.report.conftest import write_example

Change = Callable[[str, Callable[[Any], object]], None]
HOSTILE = "<script>alert('x')</script> & $\\alpha$"


class _Page(HTMLParser):
    """Collects the tags, their attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        plain = str.maketrans({"\u00a0": " ", "\u2013": "-", "\u2212": "-"})  # dashes and minus as on a keyboard
        self.text = " ".join(" ".join(self.words).translate(plain).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run folder with its report, for tests that only read."""
    folder = write_example(tmp_path_factory.mktemp("written") / "run")
    write_report(folder)
    return folder


def _page(folder: Path) -> _Page:
    return _Page(write_report(folder).read_text())


def _read(folder: Path) -> _Page:
    return _Page((folder / "report.html").read_text())


def _json(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_the_page_asks_nothing_of_the_outside(written: Path) -> None:
    text = (written / "report.html").read_text()
    page = _Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on")], tag
    assert re.findall(r"https?:", text) == []
    assert "@import" not in text and re.findall(r"url\((?!#)", text) == []
    assert any(
        attributes.get("content", "") and "default-src 'none'" in str(attributes["content"])
        for _, attributes in page.tags
    )


def test_the_page_is_small_and_the_same_twice(example_run: Path) -> None:
    first = write_report(example_run).read_bytes()
    assert write_report(example_run).read_bytes() == first
    assert len(first) < 2_000_000


def test_identifiers_in_the_page_are_unique_and_references_resolve(written: Path) -> None:
    page = _read(written)
    names = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    text = (written / "report.html").read_text()
    wanted = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert wanted and wanted <= set(names)


def test_every_site_stands_with_the_numbers_of_the_files(written: Path) -> None:
    text = _read(written).text
    evaluation = _json(written, "evaluation.json")
    for site, report in (evaluation["sites"] | evaluation["unseen"]).items():
        auc, sensitivity = report["auc"], report["sensitivity"]
        row = (
            rf"{site} (trained|trained, lowest AUC|unseen) {report['patients']} {report['breasts']}"
            rf" {report['malignant']} {auc['value']:.3f} {auc['low']:.3f}-{auc['high']:.3f}"
            rf" {sensitivity['value']:.2f} {sensitivity['low']:.2f}-{sensitivity['high']:.2f}"
            rf" {report['brier']['value']:.3f}"
        )
        assert re.search(row, text), row


def test_headline_tiles_are_mean_worst_unseen_and_patients(written: Path) -> None:
    text = _read(written).text
    evaluation = _json(written, "evaluation.json")
    values = {site: report["auc"]["value"] for site, report in evaluation["sites"].items()}
    worst = min(values, key=lambda site: values[site])
    assert "4 simulated hospitals trained together for 8 rounds with FedAvg; no image left its site" in text
    assert f"Mean AUC {np.mean(list(values.values())):.3f} over 4 training sites" in text
    assert f"Worst site: {worst} {values[worst]:.3f}" in text
    assert f"Unseen site: UNSEEN {evaluation['unseen']['UNSEEN']['auc']['value']:.3f}" in text
    assert "Patients 750 at 5 sites; 400 tested" in text


def test_readings_are_differences_of_means_and_never_a_verdict_where_intervals_overlap(written: Path) -> None:
    text = _read(written).text
    evaluation, baselines = _json(written, "evaluation.json"), _json(written, "baselines.json")
    sites = list(evaluation["sites"])
    federated = float(np.mean([evaluation["sites"][site]["auc"]["value"] for site in sites]))
    pooled = float(np.mean([baselines["pooled"][site]["value"] for site in sites]))
    others = np.mean([baselines["local"][a][b]["value"] for a in sites for b in sites if a != b])
    reading = f"{federated - pooled:+.3f} Federated minus pooled training, on the training sites' patients."
    assert f"{reading} {federated:.3f} against {pooled:.3f}." in text
    assert f"{federated - others:+.3f} Federated minus the mean of models that other sites trained alone" in text
    assert "The intervals overlap at every site, so these figures alone do not settle which is better." in text


def test_intervals_that_lie_apart_are_named(example_run: Path, change: Change) -> None:
    change("baselines.json", lambda found: found["pooled"].update(MCS={"value": 0.5, "low": 0.4, "high": 0.6}))
    assert "The intervals lie apart at MCS and overlap elsewhere." in _page(example_run).text


def test_every_explainer_that_was_asked_for_has_a_row(written: Path) -> None:
    text = _read(written).text
    assert "HiResCAM not scored" in text, "asked for, and refused everywhere"
    assert "deep SHAP" in text


def test_the_report_says_by_how_much_sums_are_off(example_run: Path, change: Change) -> None:
    assert "sums off by less than 0.1 %" in _page(example_run).text
    change("evaluation.json", lambda found: found["sites"]["TUH"]["explanations"]["shap"].update(gap=0.043))
    assert "sums off by 4 %" in _page(example_run).text


def test_a_method_that_does_not_beat_the_controls_is_called_so(example_run: Path, change: Change) -> None:
    def weaken(found: Any) -> None:
        scores = found["sites"]["TUH"]["explanations"]
        scores["gradcam"]["pointing_game"] = {"value": 0.05, "low": 0.0, "high": 0.1}
        scores["shap"]["pointing_game"] = {"value": 0.30, "low": 0.2, "high": 0.4}
        scores["intensity"]["pointing_game"] = {"value": 0.25, "low": 0.2, "high": 0.35}

    change("evaluation.json", weaken)
    text = _page(example_run).text
    assert "A method that does not beat both controls explains nothing." in text
    assert "0.05 0.00-0.10 not above both controls" in text
    assert "0.30 0.20-0.40 above both, intervals overlap" in text
    assert "above both controls" in text


def test_hostile_names_are_shown_as_text(example_run: Path) -> None:
    for name in ("sites.json", "evaluation.json", "baselines.json", "rounds.jsonl"):
        path = example_run / name
        path.write_text(path.read_text().replace('"TUH"', json.dumps(HOSTILE)))
    (example_run / "sites" / "TUH").rename(example_run / "sites" / "TUH-gone")
    page = _page(example_run)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.words.count(HOSTILE) + sum(HOSTILE in words for words in page.words) > 5


def test_pictures_are_inside_and_captioned(written: Path) -> None:
    page = _read(written)
    sources = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
    listing = _json(written / "sites" / "CR" / "reports" / "gallery", "gallery.json")
    assert len(sources) == 16
    first = (written / "sites" / "MCS" / "reports" / "gallery" / "breast-00-MLO.png").read_bytes()
    assert base64.b64decode(sources[0].split(",")[1]) == first
    assert f"False alarm: normal, MLO probability {listing[2]['score']:.2f}" in page.text
    assert "map points outside the box" in page.text


def test_large_pictures_are_made_smaller_and_counted_when_left_out(example_run: Path) -> None:
    gallery = example_run / "sites" / "MCS" / "reports" / "gallery"
    noise = np.random.default_rng(0).integers(0, 255, (900, 800, 3), dtype=np.uint8)
    listing = [
        {"file": f"{place}.png", "label": "normal", "score": 0.1, "outcome": "correct", "view": "CC"}
        for place in range(9)
    ]
    for item in listing:
        Image.fromarray(noise).save(gallery / str(item["file"]))
    (gallery / "8.png").write_bytes(b"no picture")
    (gallery / "gallery.json").write_text(json.dumps([listing[8], *listing[:8]]))
    text = _page(example_run).text
    assert (example_run / "report.html").stat().st_size < 6_000_000
    assert "1 picture of MCS could not be read." in text
    assert re.search(r"\d more would make this file too large", text)


def test_what_is_missing_is_said_not_invented(example_run: Path, change: Change) -> None:
    (example_run / "baselines.json").unlink()
    (example_run / "summary.json").unlink()
    for site in ("MCS", "TUH", "RAW", "CR"):
        (example_run / "sites" / site / "reports" / "gallery" / "gallery.json").unlink()
    change("sites.json", lambda found: (found.pop("UNSEEN"), found["CR"].update(left_out="fewer than 8 patients")))

    def spoil(found: Any) -> None:
        found["unseen"].clear()
        found["sites"].pop("CR")
        found["sites"].pop("RAW")
        one_class = {"value": None, "low": None, "high": None}
        found["sites"]["TUH"].update(
            auc=one_class, sensitivity=one_class, malignant=0, roc_specificity=[], roc_sensitivity=[]
        )
        for report in found["sites"].values():
            report.update(explanations={}, loss=math.nan, calibration_error=math.nan, calibration=[])

    change("evaluation.json", spoil)
    text = _page(example_run).text
    assert "Unseen site - none in this run" in text
    assert "CR took no part: fewer than 8 patients" in text
    assert "not defined: no malignant breast in the test set" in text
    assert "no evaluation arrived from this site" in text
    assert "over 1 training site; 2 without an AUC" in text
    assert "No explanation was scored in this run" in text
    assert "each site keeps its own: in its state folder, under reports/gallery" in text
    assert "With and without federation" not in text
    assert "nan" not in text.lower().split()


def test_unknown_boxes_are_called_unknown(example_run: Path, change: Change) -> None:
    change("sites.json", lambda found: found["RAW"].update(boxes="unknown", source="folder"))
    change("evaluation.json", lambda found: found["sites"]["RAW"].update(explanations={}))
    text = _page(example_run).text
    assert text.count("boxes unknown") == 3 * len(("hirescam", "gradcam", "shap", "intensity", "random"))
    assert "4 sites trained together" in text and "simulated" not in text


def test_all_patients_of_an_unseen_site_are_test_patients(written: Path) -> None:
    text = _read(written).text
    assert re.search(r"MCS trained 150 300 600 104 60 136 MLO 300 CC 300 known 0 0 90 22 38 ", text)
    assert re.search(r"UNSEEN unseen 150 300 600 104 60 136 MLO 300 CC 300 known 3 1 - - 150 ", text)


def test_replies_that_were_not_used_are_visible(written: Path) -> None:
    text = _read(written).text
    assert "RAW: reply put into quarantine (WireError: the digest does not fit), in round 3" in text
    assert "CR: no reply in time, in round 5" in text


def test_gaps_and_undefined_validation_leave_a_page(example_run: Path) -> None:
    path = example_run / "rounds.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["validation"]["CR"]["auc"] = None
        line["train"].pop("TUH", None)
    lines[2]["validation"], lines[3]["train"]["MCS"]["loss"] = {}, math.nan
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "Validation AUC" in _page(example_run).text
    path.write_text("")
    assert "No round was recorded." in _page(example_run).text


@pytest.mark.parametrize("bytes_sent", [89_800_000])
def test_time_bytes_and_settings_come_from_the_run(written: Path, bytes_sent: int) -> None:
    text = _read(written).text
    assert f"{8 * bytes_sent / 1e6:.1f} MB to the sites" in text
    assert "total 2 min 51 s, train 1 min 41 s" in text
    assert "none in this run: updates are not protected by differential privacy" in text
    assert "bootstrap_samples: 1000" in text


def test_what_privacy_cost_is_shown_per_site_and_round_with_what_it_does_not_cover(
    example_run: Path, change: Change
) -> None:
    assert "Training was not differentially private" in _page(example_run).text
    path = example_run / "rounds.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for site in ("MCS", "CR"):
            if site in line["train"]:
                spent = {"epsilon": 0.5 * line["round"], "delta": 1.5e-3, "unit": "patient"}
                line["train"][site]["privacy"] = spent
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    last = {"epsilon": 4.0, "delta": 1.5e-3, "unit": "patient"}
    change("summary.json", lambda found: found["privacy"].update(MCS=last, CR=last))
    change("sites.json", lambda found: found["MCS"].update(planned=last | {"epsilon": 4.25}))
    page = _page(example_run).text
    for text in ("Privacy spent", "4.00", "4.25", "0.0015", "of one patient", "Harmonisation statistics"):
        assert text in page, text
    assert "Training was not differentially private" not in page
