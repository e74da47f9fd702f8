"""Both engines against a plain loop over patients, for every backbone and the detector; and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from client.compute import Compute
from client.privacy import accumulated, vectorised
from client.privacy.losses import PatientLosses
from client.privacy.mechanism import ClippedSum
from client.privacy.sampling import patients_of
from client.privacy.training import require_private
from client.tasks.work import work_of
from common.configuration import (
    AugmentationConfig,
    DetectorConfig,
    ImagingConfig,
    ModelConfig,
    PrivacyConfig,
    TaskConfig,
    TrainingConfig,
)
from common.errors import MixedPatientsError, PatientGradientError, UnprovenNetworkError
from common.models.backbones import BACKBONES
from common.models.network import build_network

STILL = AugmentationConfig(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
DETECTORS = ("resnet8", "resnet10", "resnet18", "resnet50")


def task_of(kind="classifier", backbone="resnet8", augmentation=STILL, **model):
    return TaskConfig(
        task=kind,
        imaging=ImagingConfig(height=64, width=48),
        model=ModelConfig(backbone=backbone, norm="group", **model),
        detector=DetectorConfig(channels=16, tower_convolutions=1, smallest_mm=8, largest_mm=40, frame_mm=64),
        training=TrainingConfig(batch_size=5, augmentation=augmentation),
        privacy=PrivacyConfig(unit="patient", noise_multiplier=1.0),
    )


def losses_of(task, site, seed=0, model=None):
    if model is None:
        model = build_network(task, 0).train()
    for module in model.modules():  # chance would differ between the ways to compute
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    compute = Compute(torch.device("cpu"), False, contiguous=True)
    compute.place_model(model)
    return PatientLosses(work_of(task), model, compute, site, task, torch.Generator().manual_seed(seed))


def learning(model):
    return [value for value in model.parameters() if value.requires_grad]


def by_hand(losses, site):
    """Gradient of each patient, from nothing but pixels, labels and boxes."""
    model, found = losses.model, {}
    for patient in dict.fromkeys(breast.patient_id for breast in site.breasts):
        logits, targets, of_views = [], [], []
        for breast, views in zip(site.breasts, site.views, strict=True):
            if breast.patient_id != patient:
                continue
            images = torch.stack([torch.from_numpy(np.load(view.file).astype("float32"))[None] for view in views])
            if losses.task.task == "classifier":
                logits.append(model(images).mean())
                targets.append(float(breast.label == "malignant"))
            else:
                for number, view in enumerate(breast.views):
                    boxes = torch.tensor([[b.x0, b.y0, b.x1, b.y1] for b in view.boxes]).reshape(-1, 4)
                    of_views.append(model.losses(model(images[number : number + 1]), [boxes])[0])
        if losses.task.task == "classifier":
            loss = nn.functional.binary_cross_entropy_with_logits(torch.stack(logits), torch.tensor(targets))
        else:
            loss = torch.stack(of_views).mean()
        gradients = torch.autograd.grad(loss, learning(model), allow_unused=True)
        found[patient] = [
            torch.zeros_like(value) if gradient is None else gradient
            for value, gradient in zip(learning(model), gradients, strict=True)
        ]
    return found


def flat(gradients):
    return torch.cat([item.detach().double().flatten() for item in gradients])


def by_engine(engine, losses, bound, patients=None, augmentations=1):
    parameters = learning(losses.model)
    clipped = ClippedSum.of_nobody(parameters, bound)
    drawn = patients_of(losses.data) if patients is None else patients
    if engine == "vectorised":
        with vectorised.watched(losses.model):
            vectorised.add_patients(clipped, drawn, losses, parameters, augmentations)
    else:
        accumulated.add_patients(clipped, drawn, losses, parameters, augmentations)
    return clipped


def without(site, *patients):
    kept = [number for number, breast in enumerate(site.breasts) if breast.patient_id not in patients]
    return replace(
        site,
        breasts=tuple(site.breasts[number] for number in kept),
        views=tuple(site.views[number] for number in kept),
    )


def agrees(task, site, engine, tolerance=1e-5):
    """Half of the patients are clipped, the others are not."""
    losses = losses_of(task, site)
    alone = list(by_hand(losses, site).values())
    norms = [float(torch.stack([part.double().norm() for part in item]).norm()) for item in alone]
    bound = float(np.median(norms))
    factors = [min(1.0, bound / norm) for norm in norms]
    found = by_engine(engine, losses, bound).total
    missing, whole = 0.0, 0.0
    for number, total in enumerate(found):
        wanted = sum(factor * item[number].double() for factor, item in zip(factors, alone, strict=True))
        missing += float((total - wanted).pow(2).sum())
        whole += float(wanted.pow(2).sum())
    assert missing**0.5 < tolerance * whole**0.5


NETWORKS = [("classifier", name) for name in BACKBONES] + [("detector", name) for name in DETECTORS]


@pytest.mark.parametrize(("kind", "backbone"), NETWORKS)
def test_accumulated_gradients_are_those_of_a_plain_loop(site, kind, backbone):
    agrees(task_of(kind, backbone), site if backbone == "resnet8" else without(site, "p2", "p3"), "accumulated")


@pytest.mark.parametrize(
    ("kind", "backbone"), [(kind, name) for kind, names in vectorised.PROVEN.items() for name in names]
)
def test_vectorised_gradients_are_those_of_a_plain_loop(site, kind, backbone):
    agrees(task_of(kind, backbone), site if backbone == "resnet8" else without(site, "p2", "p3"), "vectorised")


@pytest.mark.parametrize("engine", ["accumulated", "vectorised"])
@pytest.mark.parametrize("changes", [{"pooling": "lse"}, {"frozen_stages": 2}], ids=str)
def test_other_heads_and_frozen_stages(site, engine, changes):
    agrees(task_of(**changes), site, engine)


def test_every_network_is_proven_or_refused(site):
    """A new backbone is refused until its name is in the list, whose names the tests above compare."""
    for kind, names in (("classifier", tuple(BACKBONES)), ("detector", DETECTORS)):
        for backbone in names:
            task = task_of(kind, backbone)
            task = replace(task, privacy=replace(task.privacy, engine="vectorised"))
            if backbone in vectorised.PROVEN[kind]:
                vectorised.require_proven(task)
            else:
                with pytest.raises(UnprovenNetworkError, match=f"{kind} on {backbone}"):
                    require_private(nn.Identity(), task)
    assert "convnext_tiny" not in vectorised.PROVEN["classifier"]  # random depth inside what Opacus recomputes


def test_a_patient_of_eight_images_counts_once(site):
    """Whatever the number of images, what a patient adds is one gradient of the bound's norm."""
    for engine in ("accumulated", "vectorised"):
        losses = losses_of(task_of(), site)
        patients = patients_of(site)
        assert [len(losses.patient_of_image([patient])) for patient in patients] == [4, 8, 1, 1]
        whole, rest = by_engine(engine, losses, 1e-3), by_engine(engine, losses, 1e-3, [*patients[:1], *patients[2:]])
        assert float((flat(whole.total) - flat(rest.total)).norm()) == pytest.approx(1e-3, rel=1e-6)
        assert len(whole.losses) == 4


@pytest.mark.parametrize("engine", ["accumulated", "vectorised"])
def test_augmented_copies_are_averaged_before_clipping(site, engine):
    """Three copies of one patient, drawn one after the other, and clipped as one."""
    task, patient = task_of(augmentation=AugmentationConfig()), patients_of(site)[1]
    losses = losses_of(task, site, seed=5)
    copies = [flat(torch.autograd.grad(losses([patient])[0], learning(losses.model))) for _ in range(3)]
    assert float((copies[0] - copies[1]).norm()) > 0.1 * float(copies[0].norm())
    mean = sum(copies) / 3
    bound = float(mean.norm()) / 2
    found = flat(by_engine(engine, losses_of(task, site, seed=5), bound, [patient], augmentations=3).total)
    assert float((found - mean / 2).norm()) < 1e-5 * bound


def test_losses_are_those_of_the_patients(site):
    """One pass over all patients gives each what it has alone; the detector's patients do not mix either."""
    for kind in ("classifier", "detector"):
        losses, patients = losses_of(task_of(kind), site), patients_of(site)
        with torch.no_grad():
            torch.testing.assert_close(
                losses(patients), torch.cat([losses([patient]) for patient in patients]), rtol=1e-5, atol=1e-6
            )


def test_patients_are_taken_together_up_to_the_batch_size():
    patients = [np.arange(count) for count in (2, 4, 1, 1, 7, 3, 1)]
    assert [[len(item) for item in some] for some in vectorised.chunks(patients, 4)] == [[2], [4], [1, 1], [7], [3, 1]]
    assert vectorised.chunks([], 4) == []


def test_batch_normalisation_is_refused_unless_it_is_frozen():
    task = task_of()
    learns = replace(task, model=ModelConfig(backbone="resnet8"))
    with pytest.raises(MixedPatientsError, match=r"model\.norm=group"):
        require_private(build_network(learns, 0).train(), learns)
    frozen = replace(task, model=ModelConfig(backbone="resnet8", frozen_stages=4))
    require_private(build_network(frozen, 0).train(), frozen)


@pytest.mark.parametrize("engine", ["accumulated", "vectorised"])
def test_frozen_batch_normalisation_leaves_patients_apart(site, engine):
    task = replace(task_of(), model=ModelConfig(backbone="resnet8", frozen_stages=4))
    agrees(task, site, engine)


def test_gradients_that_do_not_add_up_are_noticed(site, monkeypatch):
    """What Opacus does to channels last: here its convolution forgets one of the images."""
    losses = losses_of(task_of(), site)
    right = vectorised._Hooks.GRAD_SAMPLERS[nn.Conv2d]

    def wrong(layer, activations, backprops):
        found = right(layer, activations, backprops)
        found[layer.weight][0] = 0
        return found

    monkeypatch.setitem(vectorised._Hooks.GRAD_SAMPLERS, nn.Conv2d, wrong)
    with pytest.raises(PatientGradientError, match="do not add up"):
        by_engine("vectorised", losses, 1.0)


def test_channels_last_does_no_harm(site):
    """Opacus' own hooks are off by more than a tenth then."""
    right = flat(by_engine("vectorised", losses_of(task_of(), site), 1e9).total)
    losses = losses_of(task_of(), site)
    losses.model.to(memory_format=torch.channels_last)
    found = flat(by_engine("vectorised", losses, 1e9).total)
    assert float((found - right).norm() / right.norm()) < 1e-5


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "densenet121", "efficientnet_b0"])
def test_a_watched_network_computes_the_same_and_is_itself_afterwards(backbone):
    model = build_network(task_of(backbone=backbone), 0).eval()
    images = torch.randn(2, 1, 64, 48, generator=torch.Generator().manual_seed(1))
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    on_parameters = {name: set(vars(value)) for name, value in model.named_parameters()}
    overwriting = [name for name, module in model.named_modules() if getattr(module, "inplace", False)]
    with torch.no_grad():
        before = model(images)
        with vectorised.watched(model):
            assert not any(getattr(module, "inplace", False) for module in model.modules())
            assert torch.equal(model(images), before)
        assert torch.equal(model(images), before)
    assert overwriting == [name for name, module in model.named_modules() if getattr(module, "inplace", False)]
    assert attributes == {name: set(vars(module)) for name, module in model.named_modules()}
    assert on_parameters == {name: set(vars(value)) for name, value in model.named_parameters()}
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
