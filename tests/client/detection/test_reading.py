"""What the detector says of a site, against its own network called view by view."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.detection.reading import read_images, read_site
from common.data.dataset import make_batch
from common.models.detector import build_detector


def test_reading_is_that_of_every_view_alone(squares, task):
    model = build_detector(task, 1)
    reading = read_site(model, squares, task, "")
    assert model.training, "the mode is as before"
    model.eval()
    losses, logits = [], []
    with torch.no_grad():
        for index in range(12):
            views = [model(make_batch(squares, [index]).images[n : n + 1]) for n in range(2)]
            logits.append(np.mean([look.logits.max().item() for look in views]))
            for number, look in enumerate(views):
                (ours,) = [item for item in reading.views if (item.breast, item.view) == (index, number)]
                alone = model.detections([look], [False])[0]
                np.testing.assert_allclose(ours.boxes, alone.boxes, atol=1e-3)
                np.testing.assert_allclose(ours.scores, alone.scores, rtol=1e-4)
                if ours.lesions is not None:
                    losses.append(model.losses(look, [torch.from_numpy(ours.sought).float()])[0].item())
    assert reading.logits == pytest.approx(logits, rel=1e-4)
    assert reading.loss == pytest.approx(np.mean(losses), rel=1e-4) and len(losses) == 20
    assert len(reading.known()) == 20 and len(read_images(squares, reading.views)) == 20


def test_a_second_look_upside_down_changes_scores(squares, task):
    model = build_detector(task, 1)
    twice = replace(task, detector=replace(task.detector, test_flips=True))
    assert not np.allclose(read_site(model, squares, task, "").logits, read_site(model, squares, twice, "").logits)


def test_nobody_is_no_problem(squares, task):
    reading = read_site(build_detector(task, 1), squares.of_split("test"), task, "")
    assert reading.views == [] and reading.logits.shape == (0,) and reading.loss is None


def test_a_lesion_cropped_away_counts_and_cannot_be_found(squares, task):
    narrow = replace(squares.views[0][0].geometry, crop=(0, 0, 1, 1), placed=(1, 1))
    data = replace(
        squares, views=((replace(squares.views[0][0], geometry=narrow), squares.views[0][1]), *squares.views[1:])
    )
    first = read_site(build_detector(task, 1), data, task, "").views[0]
    assert first.lesions.lost == 1 and len(first.sought) == 1 and first.sought.max() < 0
