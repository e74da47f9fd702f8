"""Private training in the loop that all tasks share."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from client.privacy.plan import Steps, steps_of_round
from client.training import Round, train
from common.configuration import (
    AugmentationConfig,
    MethodConfig,
    ModelConfig,
    PrivacyConfig,
    TaskConfig,
    TrainingConfig,
)
from common.entropy import Entropy
from common.errors import DeltaError, MixedPatientsError, UnprovenNetworkError
from common.models.network import build_network

ENGINES = ("accumulated", "vectorised")
PRIVATE = PrivacyConfig(unit="patient", noise_multiplier=0.5, patients_per_step=4)
FAST = TrainingConfig(batch_size=4, learning_rate=3e-3, precision="fp32", threads=1)


@pytest.fixture
def task():
    return TaskConfig(model=ModelConfig(backbone="resnet8", norm="group"), training=FAST, privacy=PRIVATE)


def changed(task, **privacy):
    return replace(task, privacy=replace(task.privacy, **privacy))


def trained(task, data, part=None, seed=1, **arguments):
    model = build_network(task, 0)
    entropy = None if seed is None else Entropy(seed)
    result = train(model, data, task, part or Round(1, 2, 0, "TUH"), entropy=entropy, **arguments)
    return torch.cat([value.detach().flatten() for value in model.parameters()]), result


@pytest.mark.parametrize("engine", ENGINES)
def test_it_repeats_only_with_the_entropy_of_a_test(bright_cancers, task, engine):
    """The run's seed, which the coordinator chooses, foretells nothing."""
    task = changed(task, engine=engine)
    first, result = trained(task, bright_cancers)
    assert torch.equal(first, trained(task, bright_cancers)[0])
    assert not torch.equal(first, trained(task, bright_cancers, seed=2)[0])
    assert torch.equal(first, trained(task, bright_cancers, Round(1, 2, 99, "TUH"))[0])
    assert not torch.equal(*(trained(task, bright_cancers, seed=None)[0] for _ in range(2)))
    assert result.plan == Steps(0.5, 4 / 12, 3) and (result.steps, result.counted) == (3, 12)


def test_without_noise_it_learns(bright_cancers, task):
    task = changed(replace(task, training=replace(FAST, local_epochs=4)), noise_multiplier=0.0, clip_norm=5.0)
    model, losses = build_network(task, 0), []
    for number in (1, 2, 3):
        losses.append(train(model, bright_cancers, task, Round(number, 3, 0, "TUH"), entropy=Entropy(number)).loss)
    assert losses[-1] < 0.7 * losses[0]


def test_the_engines_go_the_same_way(bright_cancers, task):
    """Augmentation draws in another order, so it is off; AdamW's first steps magnify what rounding leaves of zeros."""
    still = replace(FAST, augmentation=AugmentationConfig(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    both = [trained(changed(replace(task, training=still), engine=name), bright_cancers) for name in ENGINES]
    torch.testing.assert_close(both[0][0], both[1][0], rtol=1e-4, atol=1e-5)
    assert both[0][1].loss == pytest.approx(both[1][1].loss, rel=1e-5)


def test_a_step_by_hand(bright_cancers, task):
    """One step of AdamW with everybody drawn goes against the sign of the noisy mean gradient, so nothing but noise
    with a very large multiplier; its own size does not matter to AdamW."""
    task = changed(task, noise_multiplier=1000.0, patients_per_step=12)
    task = replace(task, training=replace(FAST, weight_decay=0.0))
    model = build_network(task, 0)
    before = [value.detach().clone() for value in model.parameters()]
    train(model, bright_cancers, task, Round(1, 1, 0, "TUH"), entropy=Entropy(1))
    entropy = Entropy(1)
    entropy.seed(), entropy.seed(), entropy.uniform(12)  # of dropout, augmentation and sampling
    for value, old in zip(model.parameters(), before, strict=True):
        noise = entropy.normal(value.numel()).view(value.shape)
        clear = noise.abs() > 0.01
        torch.testing.assert_close((value - old)[clear], -3e-3 * noise.sign().float()[clear], rtol=1e-3, atol=1e-6)


def test_nobody_drawn_makes_noisy_steps_all_the_same(bright_cancers, task, monkeypatch):
    monkeypatch.setattr("client.privacy.training.draw", lambda *arguments: np.empty(0, dtype=np.int64))
    for engine in ENGINES:
        vector, result = trained(changed(task, engine=engine), bright_cancers)
        fresh = torch.cat([value.detach().flatten() for value in build_network(task, 0).parameters()])
        assert result.loss == 0.0 and result.steps == 3
        assert float((vector != fresh).float().mean()) > 0.99


def test_patients_are_drawn_and_no_class_is_preferred(bright_cancers, task, monkeypatch):
    """Balanced sampling is on in the settings; steps, rate and weight are those of patients all the same."""
    assert task.training.balanced_sampling
    calls = []
    monkeypatch.setattr("client.training._batches", lambda *arguments: calls.append(arguments))
    result = trained(task, bright_cancers)[1]
    assert not calls and result.counted == 12


def test_frozen_stages_stay_and_all_else_moves(bright_cancers, task):
    task = replace(task, model=replace(task.model, frozen_stages=2))
    model = build_network(task, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, bright_cancers, task, Round(1, 2, 0, "TUH"), entropy=Entropy(1))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, value in model.named_parameters() if value.requires_grad}
    assert not any(name.startswith(("backbone.conv1", "backbone.layer1")) for name in moved)


def test_the_proximal_term_is_added_after_the_noise(bright_cancers, task):
    """It depends on no patient: a strong one holds the model against any noise."""
    moved = []
    for method in (MethodConfig(), MethodConfig(local_objective="proximal", mu=1e5)):
        noisy = changed(replace(task, method=method), noise_multiplier=5.0)
        noisy = replace(noisy, training=replace(FAST, local_epochs=4))
        fresh = torch.cat([value.detach().flatten() for value in build_network(noisy, 0).parameters()])
        moved.append(float((trained(noisy, bright_cancers, Round(1, 1, 0, "TUH"))[0] - fresh).norm()))
    assert moved[1] < 0.7 * moved[0]


def test_a_budget_becomes_noise_for_the_whole_run(bright_cancers, task):
    """The plan of round 1 of 2; with four times as many rounds each is noisier."""
    task = changed(task, noise_multiplier=None, epsilon=1.0, accountant="rdp")
    short, long = (trained(task, bright_cancers, Round(1, rounds, 0, "TUH"))[1].plan for rounds in (2, 8))
    assert short.noise_multiplier < long.noise_multiplier and replace(long, noise_multiplier=0) == Steps(0, 4 / 12, 3)


def test_the_plan_in_the_books_is_what_is_done_or_nothing_is(bright_cancers, task):
    plan = steps_of_round(task.privacy, 1, 12, 2.0)
    assert trained(task, bright_cancers, plan=plan)[1].plan == plan
    for wrong in (replace(plan, steps=2), replace(plan, sample_rate=0.2)):
        with pytest.raises(ValueError, match="in the books are"):
            trained(task, bright_cancers, plan=wrong)
    with pytest.raises(ValueError, match="in the books are"):
        trained(changed(task, unit="none"), bright_cancers, plan=plan)


def test_what_cannot_be_trained_privately_is_named(bright_cancers, task):
    with pytest.raises(MixedPatientsError, match=r"model\.norm=group"):
        trained(replace(task, model=ModelConfig(backbone="resnet8")), bright_cancers)
    convnext = replace(task, model=ModelConfig(backbone="convnext_tiny", norm="group"))
    with pytest.raises(UnprovenNetworkError, match=r"privacy\.engine=accumulated"):
        trained(changed(convnext, engine="vectorised"), bright_cancers)
    with pytest.raises(DeltaError, match="12 patients"):
        trained(changed(task, delta=0.09), bright_cancers)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_patient_without_numbers_is_shown_and_adds_nothing(bright_cancers, task, engine, caplog):
    broken = np.load(bright_cancers.views[5][0].file)
    broken[:] = np.nan
    np.save(bright_cancers.views[5][0].file, broken)
    task = changed(task, engine=engine, patients_per_step=12)
    with caplog.at_level(logging.INFO):
        vector, result = trained(task, bright_cancers)
    assert bool(vector.isfinite().all()) and np.isfinite(result.loss)
    assert "TUH: 1 gradients of patients were not finite and added nothing" in caplog.messages


def test_a_detector_counts_the_patients_it_was_trained_on(site):
    """p0 and p3 have no lesion and count too: they are drawn as often as the others."""
    task = TaskConfig(
        task="detector",
        model=ModelConfig(backbone="resnet8", norm="group"),
        training=FAST,
        privacy=replace(PRIVATE, patients_per_step=2),
    )
    small = replace(task.detector, channels=16, tower_convolutions=1, smallest_mm=8.0, largest_mm=40.0, frame_mm=64.0)
    task = replace(task, detector=small, imaging=replace(task.imaging, height=64, width=48))
    for engine in ENGINES:
        result = trained(changed(task, engine=engine), site)[1]
        assert result.counted == 4 and result.plan == Steps(0.5, 0.5, 2) and np.isfinite(result.loss)
