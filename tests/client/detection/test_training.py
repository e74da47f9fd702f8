"""The detector in the training loop that all tasks share."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.detection.evaluation import summarise
from client.detection.reading import read_site
from client.tasks import detector as work
from client.training import Round, train
from common.configuration import EvaluationConfig, MethodConfig
from common.errors import NoLesionError
from common.imaging.box import Box
from common.models.detector import build_detector


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def with_boxes(data, boxes_of):
    """The same site with other boxes; ``boxes_of`` is given breast number and view."""
    return replace(
        data,
        breasts=tuple(
            replace(
                breast, views=tuple(replace(view, boxes=boxes_of(index, view)) for view in breast.views)
            )
            for index, breast in enumerate(data.breasts)
        ),
    )  # fmt: skip


def test_it_learns_and_repeats_bit_for_bit(squares, task):
    task = replace(task, training=replace(task.training, local_epochs=6))
    finished, losses = [], []
    for _ in range(2):
        model = build_detector(task, 0)
        losses.append([train(model, squares, task, Round(n, 3, 0, "TUH")).loss for n in (1, 2, 3)])
        finished.append(model)
    assert losses[0] == losses[1] and losses[0][-1] < 0.6 * losses[0][0]
    other = finished[1].state_dict()
    assert all(torch.equal(value, other[name]) for name, value in finished[0].state_dict().items())
    report = summarise(squares, read_site(finished[0], squares, task, ""), EvaluationConfig())
    assert report.froc.mean_per_lesion.value > 0.5


def test_patients_with_a_lesion_count(squares, task):
    """Five of the ten patients whose boxes are known; steps are those of the ten."""
    result = train(build_detector(task, 0), squares, task, Round(1, 2, 0, "TUH"))
    assert (result.counted, result.steps) == (5, 3)


def test_an_epoch_holds_the_share_of_lesions(squares, task):
    usable = work.trainable(squares, task)
    visits = work.epoch(usable, task, np.random.default_rng(0))
    assert len(visits) == 10 and work.kinds(usable, task)[visits].sum() == 8  # three quarters of ten, rounded


def test_unknown_boxes_are_never_shown(squares, task):
    """What the pictures of patients without known boxes hold makes no difference to the model."""
    darker = tuple(
        replace(image, file=squares.views[1][0].file) if index >= 10 else image
        for index, images in enumerate(squares.views)
        for image in images
    )
    changed = replace(squares, views=tuple(zip(darker[::2], darker[1::2], strict=True)))
    models = [build_detector(task, 0) for _ in range(2)]
    for model, data in zip(models, (squares, changed), strict=True):
        train(model, data, task, Round(1, 2, 0, "TUH"))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("boxes", [None, ()])
def test_a_site_without_lesions_is_named(squares, task, boxes):
    data = with_boxes(squares, lambda index, view: boxes)
    with pytest.raises(NoLesionError, match="TUH shows a lesion whose box is known"):
        train(build_detector(task, 0), data, task, Round(1, 2, 0, "TUH"))


def test_malignant_lesions_alone(squares, task):
    """Squares without a label of their own have their breast's: patients 0 and 6 are malignant."""
    malignant = replace(task, detector=replace(task.detector, lesions="malignant"))
    assert train(build_detector(task, 0), squares, malignant, Round(1, 2, 0, "TUH")).counted == 2


def test_more_than_a_hundred_lesions_on_a_view(squares, task):
    many = tuple(Box(x, y, x + 3, y + 3) for x in range(0, 40, 3) for y in range(0, 60, 5))
    assert len(many) > 150
    data = with_boxes(squares, lambda index, view: many if index == 0 else view.boxes)
    model = build_detector(task, 0)
    assert np.isfinite(train(model, data, task, Round(1, 2, 0, "TUH")).loss)
    found = summarise(data, read_site(model, data, task, ""), EvaluationConfig()).froc
    assert found.lesions == 2 * len(many) + 8


def test_the_proximal_term_holds_a_detector_too(squares, task):
    distances = []
    for method in (MethodConfig(), MethodConfig(local_objective="proximal", mu=1000.0)):
        model = build_detector(task, 0)
        before = state(model)
        train(model, squares, replace(task, method=method), Round(1, 1, 0, "TUH"))
        distances.append(sum(float((value.detach() - before[name]).norm()) for name, value in model.named_parameters()))
    assert distances[1] < 0.7 * distances[0]
