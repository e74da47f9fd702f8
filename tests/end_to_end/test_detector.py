"""A federation that trains a detector: the same commands, files and refusals as for the classifier."""

import json

import pytest
from PIL import Image

from common.configuration import task_from_yaml
from common.data.manifest import read_manifest
from common.data.split import assign_splits
from common.models.detector import MassDetector
from common.models.network import build_network
from common.packing import from_bytes
from tests.end_to_end.test_bad_input import edit, refused, with_value
from tests.end_to_end.test_what_leaves_a_site import SECRETS, federate, name_patients

DETECTOR = [
    "task=detector", "model.backbone=resnet8", "detector.channels=16", "detector.tower_convolutions=1",
    "federation.rounds=2", "federation.selection=validation_froc", "data.test_fraction=0.4", "evaluation.explained=6",
]  # fmt: skip


@pytest.fixture(scope="module")
def detected(phantom, run, tmp_path_factory):
    """Folder of a finished run of a detector with both baselines."""
    out = tmp_path_factory.mktemp("detected") / "run"
    result = run(phantom, out, *DETECTOR, "baselines=[local,pooled]", "evaluation.gallery=2")
    assert result.exit_code == 0, result.output
    return out


def test_a_run_leaves_its_figures(detected):
    summary = json.loads((detected / "summary.json").read_text())
    assert summary["task"] == "detector"
    found = summary["froc"]["UNSEEN"]
    assert set(found["sensitivity_at"]) == set(found["breast_sensitivity_at"]) == {"0.25", "0.5", "1", "2", "4"}
    values = [found["sensitivity_at"][rate] for rate in ("0.25", "0.5", "1", "2", "4")]
    assert values == sorted(values) and found["mean"] == pytest.approx(sum(values) / 5)
    assert found["mean_low"] <= found["mean"] <= found["mean_high"]
    assert found["images"] == 20 and 0 < found["lesions"] <= 20
    assert summary["sites"]["MCS"]["auc"] is not None and summary["sites"]["MCS"]["brier"] is None
    curve = json.loads((detected / "evaluation.json").read_text())["unseen"]["UNSEEN"]["froc"]
    assert len(curve["per_lesion"]) == len(curve["false_positives"]) == 13
    for way in (summary["baselines"]["froc"]["local"]["TUH"], summary["baselines"]["froc"]["pooled"]):
        assert set(way["UNSEEN"]) == {"0.25", "0.5", "1", "2", "4", "mean"}
    assert set(summary["baselines"]["local"]) == {"MCS", "TUH"}


def test_the_surest_box_is_explained_beside_the_controls(detected):
    told = json.loads((detected / "summary.json").read_text())["explanations"]["UNSEEN"]
    assert set(told) == {"hirescam", "gradcam", "intensity", "random"}
    page = (detected / "report.html").read_text()
    assert "the score of the box that it is surest of" in page and "Does the map ask the model?" in page


def test_the_report_shows_curves_and_pictures(detected):
    page = (detected / "report.html").read_text()
    for text in ("Lesions found", "FROC curve of UNSEEN", "Share of lesions found at one false positive", "MCS alone"):
        assert text in page, text
    assert "data:image/" in page and "highest score" in page
    card = (detected / "model-card.md").read_text()
    assert "A detector of masses" in card and "## Lesions found (FROC)" in card and "| UNSEEN |" in card


def test_sites_weigh_by_their_training_patients_with_a_lesion(detected, phantom):
    record = json.loads((detected / "rounds.jsonl").read_text().splitlines()[0])
    counted = {}
    for site in ("MCS", "TUH"):
        manifest = assign_splits(read_manifest(phantom / site, site), 0.15, 0.4)
        counted[site] = len(
            {
                breast.patient_id
                for breast in manifest.breasts
                if breast.split == "train" and any(view.boxes for view in breast.views)
            }
        )
        assert 0 < counted[site] < record["train"][site]["patients"]
    total = sum(counted.values())
    assert {site: found["weight"] for site, found in record["train"].items()} == pytest.approx(
        {site: number / total for site, number in counted.items()}
    )


def test_the_published_model_stands_alone_and_repeats(detected, phantom, run, tmp_path):
    tensors, metadata = from_bytes((detected / "model.safetensors").read_bytes())
    model = build_network(task_from_yaml(metadata["task"]), seed=9)
    assert isinstance(model, MassDetector) and float(metadata["prior_log_odds"]) == 0.0
    model.load_state_dict(tensors)
    result = run(phantom, tmp_path / "again", *DETECTOR, "evaluation.gallery=2")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (detected / "model.safetensors").read_bytes()


def test_a_classifiers_backbone_is_its_start(phantom, run, untrained, tmp_path):
    weights = f"model.initial_weights={untrained}"
    out = tmp_path / "out"
    result = run(phantom, out, *DETECTOR, "federation.rounds=1", weights)
    assert result.exit_code == 0, result.output
    assert "initial weights:" in result.output


def test_a_site_without_boxes_takes_no_part_and_is_named(own_phantom, run, tmp_path):
    edit(own_phantom / "TUH", with_value("boxes", "", slice(None)))
    result = run(own_phantom, tmp_path / "out", *DETECTOR, "federation.rounds=1")
    assert result.exit_code == 0, result.output
    reason = "no lesion has a box (boxes of 40 of 40 images are unknown), a detector needs them"
    assert f"TUH is left out: {reason}" in result.output
    assert json.loads((tmp_path / "out" / "sites.json").read_text())["TUH"]["left_out"] == reason
    assert "TUH took no part:" in (tmp_path / "out" / "report.html").read_text()
    asked = run(own_phantom, tmp_path / "asked", *DETECTOR, "sites=[MCS,TUH]")
    refused(asked, "NoLesionError", 45, "boxes of 40 of 40 images are unknown", "TUH")


def test_without_any_boxes_at_all_nothing_is_trained(own_phantom, run, tmp_path):
    for name in ("MCS", "TUH"):
        edit(own_phantom / name, with_value("boxes", "[]", slice(None)))
    refused(
        run(own_phantom, tmp_path / "out", *DETECTOR), "EmptySiteError", 16, "no site can be trained on", "MCS", "TUH"
    )


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ('{"x0": 5, "y0": 5, "x1": 5, "y1": 20}', "is empty or inverted"),
        ('{"x0": 20, "y0": 5, "x1": 5, "y1": 20}', "is empty or inverted"),
        ('{"x0": -4, "y0": 5, "x1": 5, "y1": 20}', "begins outside the image"),
        ('{"x0": 5, "y0": 5, "x1": 5000, "y1": 20}', "reaches outside the image"),
    ],
)
def test_boxes_that_cannot_be(own_phantom, run, tmp_path, box, says):
    edit(own_phantom / "TUH", with_value("boxes", f"[{box}]"))
    refused(run(own_phantom, tmp_path / "out", *DETECTOR), "BoxOutsideImageError", 13, says)
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_an_image_without_a_breast_is_left_out_and_counted(own_phantom, run, tmp_path):
    Image.new("L", (96, 128)).save(own_phantom / "TUH" / "blank.png")
    edit(own_phantom / "TUH", with_value("file", "blank.png"))
    refused(run(own_phantom, tmp_path / "stopped", *DETECTOR), "UnreadableImageError", 15, "no breast")
    result = run(own_phantom, tmp_path / "out", *DETECTOR, "federation.rounds=1", "data.unreadable=skip")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "sites.json").read_text())["TUH"]["skipped"] == 1


def test_only_a_detector_is_chosen_by_its_curve(phantom, run, tmp_path):
    result = run(phantom, tmp_path / "out", "federation.selection=validation_froc")
    refused(result, "ConfigurationError", 2, "only a detector has a FROC curve")


def test_no_identifier_path_or_date_leaves_a_site(own_phantom, tmp_path):
    for name in ("MCS", "TUH"):
        name_patients(own_phantom / name)
    heard = federate(own_phantom, tmp_path / "run", *DETECTOR, "federation.rounds=1")
    assert b"TrainReport" in heard and b"froc" in heard
    for secret in (*SECRETS, str(tmp_path)):
        assert secret.encode() not in heard, secret
