"""Scores of a site's explanations: every explainer beside the controls, refused ones left out and said."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from client.explanation.background import choose_background
from client.explanation.explainers import EXPLAINERS
from client.explanation.report import draw_gallery, explain
from client.site import Site
from common.configuration import EvaluationConfig, ModelConfig
from common.errors import ExplainerError
from common.imaging.box import Box
from common.models.classifier import build_classifier


@pytest.fixture
def outlined(bright_cancers):
    """Every breast malignant, with a box over the lower half of the tissue."""
    breasts = [
        replace(breast, label="malignant", views=(replace(breast.views[0], boxes=(Box(0, 16, 16, 32),)),))
        for breast in bright_cancers.breasts
    ]
    return replace(bright_cancers, breasts=tuple(breasts))


def explained(data, tmp_path, **settings):
    model = build_classifier(ModelConfig(backbone="resnet8"), seed=1).eval()
    config = EvaluationConfig(bootstrap_samples=20, gallery=2, **settings)
    site = Site("TUH", tmp_path, tmp_path / "state")
    background = choose_background(data, 4, 0)
    draw_gallery(model, data, background, np.linspace(-1, 1, 12), config, site)
    return explain(model, data, background, config, "TUH", seed=0)


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
