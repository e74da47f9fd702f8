"""Epochs visit breasts as often as they should, in an order owned by a generator."""

import numpy as np

from common.data.sampling import balanced_epoch, lesion_epoch, plain_epoch


def test_plain_epoch_visits_every_breast_once(generator):
    epoch = plain_epoch(50, generator)
    assert sorted(epoch) == list(range(50)) and list(epoch) != list(range(50))


def test_balanced_epoch_is_as_long_as_the_data_and_half_malignant(generator):
    targets = np.array([1] * 7 + [0] * 93)
    epoch = balanced_epoch(targets, generator)
    assert len(epoch) == 100 and targets[epoch].sum() == 50


def test_rare_class_is_repeated_evenly_and_common_class_is_not_repeated(generator):
    targets = np.array([1] * 7 + [0] * 93)
    visits = np.bincount(balanced_epoch(targets, generator), minlength=100)
    assert set(visits[:7]) <= {7, 8} and set(visits[7:]) == {0, 1}


def test_every_batch_has_both_classes(generator):
    targets = np.array([1] * 5 + [0] * 35)
    batches = targets[balanced_epoch(targets, generator)].reshape(-1, 8)
    assert (batches.sum(axis=1) == 4).all()


def test_all_of_the_common_class_is_seen_in_a_few_epochs(generator):
    targets = np.array([1] * 10 + [0] * 90)
    seen = {int(index) for _ in range(12) for index in balanced_epoch(targets, generator)}
    assert len(seen) >= 98


def test_one_class_alone_is_visited_once(generator):
    assert sorted(balanced_epoch(np.zeros(9, dtype=np.int64), generator)) == list(range(9))


def test_the_generator_decides_the_order():
    targets = np.array([0, 1] * 20)
    first, again, other = (balanced_epoch(targets, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_lesion_epoch_holds_the_share_and_repeats_the_rare_evenly(generator):
    with_lesion = np.array([1] * 6 + [0] * 54)
    epoch = lesion_epoch(with_lesion, 0.3, generator)
    visits = np.bincount(epoch, minlength=60)
    assert len(epoch) == 60 and with_lesion[epoch].sum() == 18
    assert set(visits[:6]) == {3} and set(visits[6:]) == {0, 1}
    assert len(set(with_lesion[epoch[:10]].tolist())) == 2, "mixed, not one kind after the other"


def test_lesion_epoch_visits_either_kind_at_least_once(generator):
    with_lesion = np.array([1, 0, 0, 0])
    assert with_lesion[lesion_epoch(with_lesion, 0.01, generator)].sum() == 1
    assert with_lesion[lesion_epoch(with_lesion, 0.99, generator)].sum() == 3


def test_lesion_epoch_of_one_kind_is_a_plain_one(generator):
    assert sorted(lesion_epoch(np.ones(9, np.int64), 0.5, generator)) == list(range(9))
