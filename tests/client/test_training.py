"""Local training: the learning rate of a round, what is trained, and what is left alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from client.objectives import penalty
from client.randomness import generators
from client.training import Round, learning_rate, train
from common.configuration import MethodConfig, ModelConfig, TaskConfig, TrainingConfig
from common.errors import OneClassSiteError
from common.models.classifier import build_classifier

FAST = TrainingConfig(batch_size=4, learning_rate=3e-3, precision="fp32", threads=1)


@pytest.fixture
def task():
    return TaskConfig(model=ModelConfig(backbone="resnet8"), training=FAST)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_learning_rate_by_hand():
    """Warm-up over two rounds of 8, then half a cosine over six rounds from 0.9 to 0.09."""
    training = TrainingConfig(learning_rate=0.9, warmup_rounds=2)
    rates = [learning_rate(training, number, 8) for number in range(1, 9)]
    assert rates[:3] == pytest.approx([0.3, 0.6, 0.9])
    assert rates[4] == pytest.approx(0.9 * (0.1 + 0.45 * (1 + math.cos(0.4 * math.pi))))
    assert rates[7] == pytest.approx(0.09)
    constant = replace(training, schedule="constant")
    assert [learning_rate(constant, number, 8) for number in (1, 3, 8)] == pytest.approx([0.3, 0.9, 0.9])


def test_a_run_of_one_round_trains_at_the_full_rate():
    assert learning_rate(TrainingConfig(learning_rate=0.5), 1, 1) == pytest.approx(0.5)


def test_training_lowers_the_loss_and_repeats_bit_for_bit(bright_cancers, task):
    finished, losses = [], []
    for _ in range(2):
        model = build_classifier(task.model, 0)
        losses.append([train(model, bright_cancers, task, Round(n, 6, 0, "TUH")).loss for n in range(1, 7)])
        finished.append(state(model))
    assert losses[0] == losses[1] and losses[0][-1] < 0.6 * losses[0][0]
    assert all(torch.equal(value, finished[1][name]) for name, value in finished[0].items())


def test_steps_are_epochs_times_batches(bright_cancers, task):
    """Balanced sampling of 4 malignant among 12 still draws 12 breasts: three batches of four."""
    task = replace(task, training=replace(FAST, local_epochs=2))
    assert train(build_classifier(task.model, 0), bright_cancers, task, Round(1, 2, 0, "TUH")).steps == 6


def test_one_class_is_named(bright_cancers, task):
    normal = [index for index, breast in enumerate(bright_cancers.breasts) if not breast.target]
    one_class = replace(
        bright_cancers,
        breasts=tuple(bright_cancers.breasts[i] for i in normal),
        views=tuple(bright_cancers.views[i] for i in normal),
    )
    with pytest.raises(OneClassSiteError, match="TUH are all of one class"):
        train(build_classifier(task.model, 0), one_class, task, Round(1, 2, 0, "TUH"))


def test_statistics_stay_as_they_are_only_after_the_round_that_is_set(bright_cancers, task):
    task = replace(task, training=replace(FAST, fix_statistics_after=2))
    changed = []
    for number in (1, 2, 3):
        model = build_classifier(task.model, 0)
        before = state(model)
        train(model, bright_cancers, task, Round(number, 4, 0, "TUH"))
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        changed.append({name.rpartition(".")[2] for name in moved})
    assert changed[0] == changed[1] >= {"running_mean", "running_var", "weight", "bias"}
    assert changed[2] == {"weight", "bias"}


def test_with_fixed_statistics_the_trained_function_is_the_tested_one(bright_cancers, task):
    """The mean loss of a step at rate (almost) 0 is then the loss in evaluation; batch statistics give another."""
    quiet = replace(
        FAST, batch_size=12, learning_rate=1e-8, balanced_sampling=False, fix_statistics_after=1,
        augmentation=replace(FAST.augmentation, flip=False, rotation_degrees=0.0, scale=0.0, shift=0.0,
                             intensity=0.0, noise=0.0, blur=0.0),
    )  # fmt: skip
    task = replace(task, training=quiet)
    model = build_classifier(task.model, 0)
    images = torch.stack([torch.from_numpy(views[0].pixels.astype("float32"))[None] for views in bright_cancers.views])
    with torch.no_grad():
        logits = model.eval()(images)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(bright_cancers.targets).float())
    losses = [train(build_classifier(task.model, 0), bright_cancers, task, Round(n, 2, 0, "TUH")).loss for n in (1, 2)]
    assert losses[1] == pytest.approx(float(expected), rel=1e-4) and losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_the_proximal_term_by_hand():
    """Half of mu = 0.5 times the squared distance 3^2 + 4^2; frozen parameters do not count."""
    model = nn.Linear(2, 1)
    anchor = {"weight": model.weight.detach() - torch.tensor([[3.0, 4.0]]), "bias": model.bias.detach() - 7.0}
    model.bias.requires_grad_(False)
    value = penalty(MethodConfig(local_objective="proximal", mu=0.5), model, anchor)
    assert value.item() == pytest.approx(6.25, rel=1e-5)
    value.backward()
    torch.testing.assert_close(model.weight.grad, torch.tensor([[1.5, 2.0]]))
    assert penalty(MethodConfig(local_objective="plain", mu=0.5), model, anchor) is None


def test_a_strong_proximal_term_keeps_the_model_nearer(bright_cancers, task):
    distances = []
    for method in (MethodConfig(), MethodConfig(local_objective="proximal", mu=1000.0)):
        model = build_classifier(task.model, 0)
        before = state(model)
        train(model, bright_cancers, replace(task, method=method), Round(1, 1, 0, "TUH"))
        distances.append(sum(float((value.detach() - before[name]).norm()) for name, value in model.named_parameters()))
    assert distances[1] < 0.7 * distances[0]


def test_generators_differ_by_every_argument():
    base = (0, "TUH", 1, "training")
    others = [(1, "TUH", 1, "training"), (0, "MCS", 1, "training"), (0, "TUH", 2, "training"), (0, "TUH", 1, "x")]

    def draws(arguments):
        made = generators(*arguments)
        return made.numpy.integers(1 << 60), torch.rand(1, generator=made.torch).item(), made.dropout_seed

    assert draws(base) == draws(base)
    for other in others:
        assert all(a != b for a, b in zip(draws(base), draws(other), strict=True))
