"""Scores of a site's explanations: every explainer beside the controls, refused ones left out and said."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from client.explanation.background import choose_background
from client.explanation.explainers import EXPLAINERS
from client.explanation.quality import measure_quality
from client.explanation.report import draw_gallery, explain, shown_views
from client.site import Site
from common.configuration import EvaluationConfig, ModelConfig
from common.errors import ExplainerError
from common.imaging.box import Box
from common.metrics.explanation import rank_correlation
from common.models.classifier import AIR, build_classifier
from common.protocol import COMPARED


@pytest.fixture
def outlined(bright_cancers):
    """Every breast malignant, with a box over the lower half of the tissue."""
    breasts = [
        replace(breast, label="malignant", views=(replace(breast.views[0], boxes=(Box(0, 16, 16, 32),)),))
        for breast in bright_cancers.breasts
    ]
    return replace(bright_cancers, breasts=tuple(breasts))


def explained(data, tmp_path, full=False, **settings):
    model = build_classifier(ModelConfig(backbone="resnet8"), seed=1).eval()
    config = EvaluationConfig(bootstrap_samples=20, gallery=2, **settings)
    site = Site("TUH", tmp_path, tmp_path / "state")
    background = choose_background(data, 4, 0)
    draw_gallery(model, data, background, np.linspace(-1, 1, 12), config, site)
    return explain(model, data, background, config, "TUH", seed=0, full=full)


def test_every_explainer_is_scored_beside_both_controls(outlined, tmp_path):
    names = ["shap", "gradcam", "expected_gradients"]
    scores = explained(outlined, tmp_path, explainers=names)
    assert list(scores) == [*names, "intensity", "random"]
    assert all(score.views == 12 for score in scores.values())
    assert all(0.0 <= score.energy_in_box.value <= 1.0 for score in scores.values())
    assert scores["gradcam"].gap is None
    assert scores["random"].gap is None
    assert 0.0 <= scores["shap"].gap < 1e-3
    assert scores["expected_gradients"].gap > scores["shap"].gap


def test_the_first_explainer_draws_the_gallery(outlined, tmp_path):
    pictures = {}
    for first, second in (("shap", "gradcam"), ("gradcam", "shap")):
        folder = tmp_path / first
        explained(outlined, folder, explainers=[first, second])
        gallery = folder / "state" / "reports" / "gallery"
        entries = json.loads((gallery / "gallery.json").read_text())
        assert entries
        pictures[first] = (gallery / entries[0]["file"]).read_bytes()
    assert pictures["shap"] != pictures["gradcam"]


def test_an_explainer_that_is_refused_is_left_out_and_the_log_says_why(outlined, tmp_path, monkeypatch, caplog):
    def refused(model, images, background):
        raise ExplainerError("there is no exact rule for it")

    monkeypatch.setitem(EXPLAINERS, "shap", refused)
    with caplog.at_level(logging.ERROR):
        scores = explained(outlined, tmp_path, explainers=["shap", "gradcam"])
    assert list(scores) == ["gradcam", "intensity", "random"]
    assert "shap is not scored: there is no exact rule for it" in caplog.text
    assert "the gallery is not drawn" in caplog.text


def test_fewer_views_than_may_be_told_give_no_scores(outlined):
    few = replace(outlined, breasts=outlined.breasts[:4], views=outlined.views[:4])
    model = build_classifier(ModelConfig(backbone="resnet8"), seed=1).eval()
    config = EvaluationConfig(bootstrap_samples=20, gallery=0)
    assert explain(model, few, torch.zeros(1, 1, 32, 24), config, "TUH", seed=0) == {}


def test_what_never_asks_the_model_is_the_same_when_it_has_forgotten_everything(outlined, tmp_path):
    scores = explained(outlined, tmp_path, explainers=["hirescam"])
    assert scores["intensity"].randomised.value == scores["random"].randomised.value == pytest.approx(1.0)
    assert scores["hirescam"].randomised.value < 0.9


def test_full_quality_is_measured_of_methods_and_controls_alike(outlined, tmp_path, monkeypatch):
    monkeypatch.setattr("client.explanation.report.QUALITY_VIEWS", 6)
    scores = explained(outlined, tmp_path, full=True, explainers=["hirescam", "gradcam"])
    assert list(scores) == ["hirescam", "gradcam", "intensity", "random"]
    assert all(score.quality.views == 6 and score.views == 12 for score in scores.values())
    assert list(scores["hirescam"].agreement) == ["gradcam", "intensity", "random"]
    assert list(scores["intensity"].agreement) == ["random"] and scores["random"].agreement == {}
    assert set(scores["gradcam"].ahead) == set(COMPARED) and scores["random"].ahead == {}

    views = [view for view in shown_views(outlined, range(12)) if view.boxes][:6]
    images, boxes = np.stack([view.pixels for view in views]), [view.boxes for view in views]
    model = build_classifier(ModelConfig(backbone="resnet8"), seed=1).eval()
    apart = measure_quality(
        model, lambda some, seen: EXPLAINERS["hirescam"](some, seen, seen).maps, images, boxes, seed=0
    )
    told = scores["hirescam"].quality
    for name in ("iou", "dice", "deletion", "insertion", "faithfulness", "sensitivity"):
        assert getattr(told, name).value == pytest.approx(np.nanmean(getattr(apart, name)), rel=1e-4), name
    both = [EXPLAINERS[name](model, torch.from_numpy(images)[:, None], None).maps for name in ("hirescam", "gradcam")]
    alike = [rank_correlation(one, other, image > AIR) for one, other, image in zip(*both, images, strict=True)]
    assert scores["hirescam"].agreement["gradcam"].value == pytest.approx(np.mean(alike), abs=1e-3)


def test_basic_quality_tells_the_lead_over_the_controls_and_nothing_that_costs(outlined, tmp_path):
    scores = explained(outlined, tmp_path, explainers=["hirescam"])
    assert all(score.quality is None and score.agreement == {} for score in scores.values())
    for measure in ("pointing_game", "energy_in_box"):
        for control in ("intensity", "random"):
            difference = getattr(scores["hirescam"], measure).value - getattr(scores[control], measure).value
            lead = scores["hirescam"].ahead[measure][control]
            assert lead.value == pytest.approx(difference) and lead.low <= lead.value <= lead.high
