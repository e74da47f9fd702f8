"""The background: in proportion to labels and projections, seeded, and never more than there is."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from client.explanation.background import choose_background


def mixed(data):
    """The fixture's twelve breasts with two views each, the second one MLO and 0.25 brighter."""
    breasts, views = [], []
    for number, (breast, images) in enumerate(zip(data.breasts, data.views, strict=True)):
        file = images[0].file.with_name(f"{number}-mlo.npy")
        np.save(file, images[0].pixels + np.float16(0.25))
        second = replace(breast.views[0], view="MLO", file=file)
        breasts.append(replace(breast, views=(*breast.views, second)))
        views.append((*images, replace(images[0], file=file)))
    return replace(data, breasts=tuple(breasts), views=tuple(views))


def kinds(data, chosen):
    """Label and projection of each chosen view, found again by its pixels."""
    known = {
        np.asarray(image.pixels, dtype=np.float32).tobytes(): (breast.label, view.view)
        for breast, images in zip(data.breasts, data.views, strict=True)
        for view, image in zip(breast.views, images, strict=True)
    }
    return [known[image[0].numpy().tobytes()] for image in chosen]


@pytest.mark.parametrize(("size", "malignant"), [(6, 2), (12, 4)])
def test_labels_and_projections_are_as_frequent_as_among_all(bright_cancers, size, malignant):
    data = mixed(bright_cancers)
    chosen = choose_background(data, size, seed=0)
    assert (chosen.shape, chosen.dtype) == ((size, 1, 32, 24), torch.float32)
    counts = Counter(kinds(data, chosen))
    assert counts == {
        ("malignant", "CC"): malignant // 2,
        ("malignant", "MLO"): malignant // 2,
        ("normal", "CC"): (size - malignant) // 2,
        ("normal", "MLO"): (size - malignant) // 2,
    }
    assert len({image.numpy().tobytes() for image in chosen}) == size, "no view twice"


def test_what_cannot_be_shared_out_goes_to_the_largest_remainder(bright_cancers):
    chosen = choose_background(bright_cancers, 5, seed=0)  # 4 of 12 malignant: 1.67 of 5
    assert Counter(label for label, _ in kinds(bright_cancers, chosen)) == {"malignant": 2, "normal": 3}


def test_the_same_seed_gives_the_same_views_and_another_one_others(bright_cancers):
    data = mixed(bright_cancers)
    first, again, other = (choose_background(data, 6, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    elsewhere = choose_background(replace(data, site="MCS"), 6, 0)
    assert not torch.equal(first, elsewhere)


def test_there_are_never_more_views_than_the_site_has(bright_cancers):
    assert len(choose_background(bright_cancers, 100, seed=0)) == 12
    assert len(choose_background(replace(bright_cancers, breasts=(), views=()), 8, seed=0)) == 0
