"""All explainers behind one seam: names, and that the model is afterwards what it was."""

import numpy as np
import pytest
import torch

from client.explanation.explainers import EXPLAINERS
from common.configuration import ModelConfig, load_run
from common.configuration.limits import CHOICES
from common.errors import ConfigurationError
from common.models.classifier import build_classifier


def classifier(**changes):
    return build_classifier(ModelConfig(**{"backbone": "resnet8", "pooling": "lse", **changes}), seed=1)


def views(number, seed=0):
    noise = torch.randn(number, 1, 64, 48, generator=torch.Generator().manual_seed(seed)).clamp(min=-2.5)
    noise[:, :, :, 40:] = -3.0
    return noise


def state_of(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
        [(len(module._forward_hooks), len(module._backward_hooks)) for module in model.modules()],
    )


def assert_same(before, after):
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:3] == after[1:3]
    for one, other in zip(before[3], after[3], strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    assert before[4] == after[4]


@pytest.mark.parametrize("name", list(EXPLAINERS))
@pytest.mark.parametrize(
    ("frozen", "training", "gradients"), [(0, True, True), (2, True, False), (4, False, True), (0, False, False)]
)
def test_the_model_is_afterwards_what_it_was(name, frozen, training, gradients):
    model = classifier(frozen_stages=frozen).train(training)
    if gradients and frozen < 4:
        model(views(4)).sum().backward()
    calls = []
    handle = model.backbone.register_forward_hook(lambda module, inputs, output: calls.append(1))
    before = state_of(model)
    with torch.no_grad():
        found = EXPLAINERS[name](model, views(2), views(2, seed=1))
    assert found.maps.shape == (2, 64, 48)
    assert found.maps.dtype == np.float32
    assert np.all(found.maps[:, :, 40:] == 0.0)
    assert (found.gap is not None) == (name in ("shap", "expected_gradients"))
    assert_same(before, state_of(model))
    handle.remove()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", list(EXPLAINERS))
def test_the_model_is_restored_even_when_explaining_fails(name):
    model = classifier(frozen_stages=1).train()
    before = state_of(model)
    with pytest.raises(RuntimeError):
        EXPLAINERS[name](model, torch.zeros(1, 3, 64, 48), torch.zeros(1, 3, 64, 48))
    assert_same(before, state_of(model))


@pytest.mark.parametrize("name", list(EXPLAINERS))
def test_no_explainer_computes_in_tf32(name):
    seen, model = set(), classifier().eval()
    model.backbone.register_forward_hook(lambda module, inputs, output: seen.add(torch.backends.cudnn.allow_tf32))
    assert torch.backends.cudnn.allow_tf32, "a case that tests something"
    EXPLAINERS[name](model, views(1), views(2, seed=1))
    assert seen == {False}
    assert torch.backends.cudnn.allow_tf32


def test_the_global_random_generators_are_not_used():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for name in EXPLAINERS:
        EXPLAINERS[name](classifier(), views(1), views(2, seed=1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_the_settings_know_every_explainer():
    assert set(CHOICES["evaluation.explainers"]) == set(EXPLAINERS)


@pytest.mark.parametrize(
    ("setting", "hint"),
    [("[grad_cam]", "did you mean 'gradcam'"), ("[shap,hiresscam]", "did you mean 'hirescam'"), ("[]", "at least one")],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(setting, hint):
    with pytest.raises(ConfigurationError, match=hint) as caught:
        load_run("tiny", [f"evaluation.explainers={setting}"])
    assert "evaluation.explainers" in str(caught.value)
