"""On a GPU, where there is one, the explanations are those of the processor."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from client.explanation.detected import DetectedScore
from client.explanation.explainers import EXPLAINERS
from common.configuration import ModelConfig, load_run
from common.models.classifier import build_classifier
from common.models.detector import build_detector

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def views(number, seed):
    drawn = torch.Generator().manual_seed(seed)
    coarse = torch.nn.functional.interpolate(torch.randn(number, 1, 12, 9, generator=drawn), (96, 72), mode="bicubic")
    return (coarse + 0.2 * torch.randn(number, 1, 96, 72, generator=drawn)).clamp(min=-2.5)


def on_both(model, name):
    images, background = views(2, seed=0), views(4, seed=1)
    there = copy.deepcopy(model).cuda()
    return EXPLAINERS[name](model, images, background), EXPLAINERS[name](there, images, background)


@pytest.mark.parametrize("name", list(EXPLAINERS))
@pytest.mark.parametrize(("backbone", "norm"), [("resnet8", "batch"), ("resnet18", "group")])
def test_a_classifiers_maps(name, backbone, norm):
    model = build_classifier(ModelConfig(backbone=backbone, norm=norm, pooling="lse"), seed=1).eval()
    here, there = on_both(model, name)
    for one, other in zip(here.maps, there.maps, strict=True):
        assert spearmanr(one.ravel(), other.ravel()).statistic > 0.999
    if there.gap is not None and name == "shap":
        assert np.all(there.gap < 1e-4)


@pytest.mark.parametrize("name", ["gradcam", "gradcam++", "hirescam", "layercam", "eigencam"])
def test_a_detectors_maps(name):
    detector = build_detector(load_run("detector-phantom", ["model.backbone=resnet8", "model.norm=group"]), seed=1)
    here, there = on_both(DetectedScore(detector.eval()), name)
    for one, other in zip(here.maps, there.maps, strict=True):
        assert spearmanr(one.ravel(), other.ravel()).statistic > 0.999
