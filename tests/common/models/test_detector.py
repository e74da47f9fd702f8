"""The detector against torchvision's RetinaNet; losses that separate; anchors, transfer, what it can learn."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models.detection.retinanet import RetinaNet

from common.configuration import DetectorConfig, ImagingConfig, ModelConfig, TaskConfig, load_run
from common.errors import ConfigurationError, WeightsFileError
from common.models.classifier import build_classifier
from common.models.detector import build_detector
from common.models.network import build_network
from common.models.weights import load_initial_weights

SMALL = DetectorConfig(channels=16, tower_convolutions=2, smallest_mm=8.0, largest_mm=40.0, frame_mm=64.0)


def task(detector=SMALL, rows=64, **model):
    return TaskConfig(
        task="detector",
        imaging=ImagingConfig(height=rows, width=48),
        model=ModelConfig(**({"backbone": "resnet8", "norm": "group"} | model)),
        detector=detector,
    )


def pictures(number, seed=0):
    return torch.randn(number, 1, 64, 48, generator=torch.Generator().manual_seed(seed))


BOXES = [
    torch.tensor([[5.0, 6.0, 20.0, 22.0], [30.0, 40.0, 42.0, 50.0]]),
    torch.empty(0, 4),
    torch.tensor([[0.0, 0, 9, 9]]),
]


@pytest.fixture
def detector():
    return build_detector(task(), 0)


def gradients(loss, model):
    return torch.autograd.grad(loss, [value for value in model.parameters() if value.requires_grad], allow_unused=True)


def test_a_batchs_loss_is_the_mean_of_its_images_and_so_are_gradients(detector):
    images = pictures(3)
    together = detector.losses(detector(images), BOXES).mean()
    alone = [detector.losses(detector(images[n : n + 1]), BOXES[n : n + 1])[0] for n in range(3)]
    assert together.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-6)
    parts = [gradients(loss, detector) for loss in alone]
    for number, whole in enumerate(gradients(together, detector)):
        torch.testing.assert_close(whole, sum(part[number] for part in parts) / 3, rtol=1e-4, atol=1e-6)


def test_with_batch_normalisation_losses_would_not_separate():
    """Why the task's default is group normalisation."""
    model, images = build_detector(task(norm="batch"), 0), pictures(3)
    together = model.losses(model(images), BOXES).mean()
    alone = [model.losses(model(images[n : n + 1]), BOXES[n : n + 1])[0] for n in range(3)]
    assert together.item() != pytest.approx(torch.stack(alone).mean().item(), rel=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in build_network(load_run("detector-demo"), 0).modules())


def test_loss_is_that_of_torchvision(detector):
    found = detector(pictures(3))
    targets = [{"boxes": boxes, "labels": torch.zeros(len(boxes), dtype=torch.int64)} for boxes in BOXES]
    outputs = {"cls_logits": found.logits[..., None], "bbox_regression": found.offsets}
    theirs = RetinaNet.compute_loss(
        SimpleNamespace(proposal_matcher=detector.matcher, head=detector.head), targets, outputs, [found.anchors] * 3
    )
    assert detector.losses(found, BOXES).mean().item() == pytest.approx(sum(theirs.values()).item(), rel=1e-6)


def test_detections_are_those_of_torchvision(detector):
    found = detector(pictures(2))
    settings = SimpleNamespace(
        score_thresh=0.0, topk_candidates=300, nms_thresh=0.2, detections_per_img=30, box_coder=detector.coder
    )
    theirs = RetinaNet.postprocess_detections(
        settings,
        {"cls_logits": [found.logits[..., None]], "bbox_regression": [found.offsets]},
        [[found.anchors]] * 2,
        [(64, 48)] * 2,
    )
    for ours, other in zip(detector.detections([found], [False]), theirs, strict=True):
        kept = other["scores"] >= 0.005
        assert len(ours.scores) == kept.sum() > 3
        torch.testing.assert_close(ours.boxes, other["boxes"][kept])
        torch.testing.assert_close(ours.scores, other["scores"][kept])


def test_a_look_upside_down_is_turned_back(detector):
    """An image seen mirrored, its detections mirrored back, are those of the mirrored image, mirrored."""
    images = pictures(1)
    turned = detector(images.flip(2))
    back, plain = detector.detections([turned], [True])[0], detector.detections([turned], [False])[0]
    mirrored = torch.stack(
        [plain.boxes[:, 0], 64 - plain.boxes[:, 3], plain.boxes[:, 2], 64 - plain.boxes[:, 1]], dim=1
    )
    torch.testing.assert_close(back.boxes, mirrored)
    both = detector.detections([detector(images), turned], [False, True])[0]
    assert both.scores[0].item() == max(
        detector.detections([detector(images)], [False])[0].scores[0].item(), back.scores[0].item()
    )


def test_more_than_a_hundred_lesions_have_a_finite_loss(detector):
    corners = torch.rand(150, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([40.0, 55.0])
    loss = detector.losses(detector(pictures(1)), [torch.cat([corners, corners + 5], dim=1)])
    assert torch.isfinite(loss).all()


def test_it_learns_to_find_squares(detector):
    """Bright squares on noise, some images without: found in pictures it has not seen, and nothing where none is."""

    def scene(seed, number):
        random = torch.Generator().manual_seed(seed)
        images, boxes = 0.3 * torch.randn(number, 1, 64, 48, generator=random), []
        for index in range(number):
            if index % 4 == 3:
                boxes.append(torch.empty(0, 4))
                continue
            x, y = (int(torch.randint(0, size, (1,), generator=random)) for size in (36, 52))
            images[index, 0, y : y + 12, x : x + 12] += 1.5
            boxes.append(torch.tensor([[x, y, x + 12, y + 12]], dtype=torch.float32))
        return images, boxes

    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    for step in range(60):
        images, boxes = scene(step, 8)
        optimizer.zero_grad()
        detector.losses(detector(images), boxes).mean().backward()
        optimizer.step()
    images, boxes = scene(1000, 8)
    detector.eval()
    with torch.inference_mode():
        found = detector.detections([detector(images)], [False])
    best = [float(item.scores[0]) if len(item.scores) else 0.0 for item in found]
    for item, lesions, score in zip(found, boxes, best, strict=True):
        if len(lesions):
            assert (item.boxes[0] - lesions[0]).abs().max() < 4
            assert score > max(best[3], best[7])


def test_the_classifiers_backbone_is_taken_over(tmp_path, detector):
    classifier = build_classifier(ModelConfig(backbone="resnet8", norm="group"), 5)
    save_file(classifier.state_dict(), tmp_path / "classifier.safetensors")
    towers = {name: value.clone() for name, value in detector.head.state_dict().items()}
    report = load_initial_weights(detector, str(tmp_path / "classifier.safetensors"))
    for name, value in classifier.backbone.state_dict().items():
        assert torch.equal(detector.backbone.state_dict()[name], value), name
    assert all(torch.equal(value, towers[name]) for name, value in detector.head.state_dict().items())
    assert set(report.unused) == {"head.weight", "head.bias"}
    save_file(build_classifier(ModelConfig(backbone="resnet50"), 5).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsFileError, match="tensors fit"):
        load_initial_weights(detector, str(tmp_path / "other.safetensors"))


def test_frozen_stages_do_not_learn():
    model = build_detector(task(frozen_stages=2), 0)
    model.losses(model(pictures(2)), BOXES[:2]).mean().backward()
    learning = {name.split(".")[1] for name, value in model.backbone.named_parameters() if value.grad is not None}
    assert model.backbone.conv1.weight.grad is None and model.backbone.layer1[0].conv1.weight.grad is None
    assert model.backbone.layer2[0].conv1.weight.grad is not None and learning


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_detector(task(), 3).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn), "the global generator was moved"
    second, other = build_detector(task(), 3).state_dict(), build_detector(task(), 4).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["head.regression_head.bbox_reg.weight"], other["head.regression_head.bbox_reg.weight"])


def test_in_bf16_anchors_and_scores_stay_float32(detector):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector(pictures(1))
    assert {found.logits.dtype, found.offsets.dtype, found.anchors.dtype} == {torch.float32}
    low = found.logits.detach().numpy().view("uint32") & 0xFFFF
    assert (low != 0).any()  # bf16 numbers end in sixteen zero bits


@pytest.mark.parametrize("backbone", ["resnet10", "resnet18", "resnet50"])
def test_every_resnet_carries_a_pyramid(backbone):
    model = build_detector(task(backbone=backbone, rows=128), 0).eval()
    with torch.no_grad():
        found = model(torch.zeros(1, 1, 128, 96))
    assert found.logits.shape[1] == len(found.anchors)


def test_other_backbones_are_refused():
    with pytest.raises(ConfigurationError, match="cannot be built on densenet121"):
        build_detector(task(backbone="densenet121"), 0)
