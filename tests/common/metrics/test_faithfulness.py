"""Faithfulness on scores whose cause is known: what the map should say can be worked out by hand."""

import numpy as np
import pytest

from common.metrics.faithfulness import faithfulness_correlation, pixel_flipping, sensitivity, tissue_baseline

AIR = -3.0
SHAPE = (32, 24)


@pytest.fixture
def tissue():
    inside = np.zeros(SHAPE, bool)
    inside[4:28, :20] = True
    return inside


@pytest.fixture
def image(tissue):
    random = np.random.default_rng(1)
    pixels = random.normal(0, 0.1, SHAPE)
    pixels[10:14, 6:10] += 4.0  # the lesion
    return np.where(tissue, pixels, AIR).astype(np.float32)


def lesion_score(images):
    """A model that sees nothing but the lesion's brightness."""
    return images[:, 10:14, 6:10].mean(axis=(1, 2)).astype(float)


def map_of(rows, columns):
    found = np.zeros(SHAPE, np.float32)
    found[rows, columns] = 1.0
    return found


LESION, ELSEWHERE = map_of(slice(10, 14), slice(6, 10)), map_of(slice(20, 24), slice(6, 10))


def test_the_baseline_keeps_air_and_outline_and_has_no_lesion(image, tissue):
    smooth = tissue_baseline(image, tissue, share=1 / 4)
    assert np.array_equal(smooth[~tissue], image[~tissue])
    assert smooth[tissue].max() < 0.3 * image.max()
    assert smooth[tissue].mean() == pytest.approx(image[tissue].mean(), abs=0.15)
    assert smooth[tissue].min() > -0.5  # air is not smoothed in


def test_the_baseline_of_even_tissue_is_the_tissue(tissue):
    even = np.where(tissue, np.float32(1.5), np.float32(AIR))
    assert tissue_baseline(even, tissue) == pytest.approx(even, abs=1e-5)


def test_deletion_and_insertion_by_hand(tissue):
    """A linear score on even evidence: the order is all that counts, and the areas are sums of a few trapezia."""
    image = np.where(tissue, np.float32(0), np.float32(AIR))
    image[4, 0] = 1.0
    pixels = int(tissue.sum())
    without = float(tissue_baseline(image, tissue)[4, 0])

    def score(images):
        return images[:, 4, 0].astype(float)

    first = np.zeros(SHAPE, np.float32)
    first[4, 0] = 1.0
    steps = 4
    found = pixel_flipping(score, image, first, tissue, steps=steps)
    # Gone with the first step, share 1/16: a trapezium from 1 down to the baseline, then the baseline.
    assert pixels / 16 > 1
    assert found.deletion == pytest.approx(1 / 16 * (1 + without) / 2 + 15 / 16 * without, abs=1e-6)
    assert found.insertion == pytest.approx(1 / 16 * (1 + without) / 2 + 15 / 16, abs=1e-6)
    last = pixel_flipping(score, image, -first, tissue, steps=steps)
    # Only the last step, share 9/16 to 1, takes it away.
    assert last.deletion == pytest.approx(9 / 16 + 7 / 16 * (1 + without) / 2, abs=1e-6)


def test_a_map_of_the_cause_beats_another_and_noise(image, tissue):
    noise = np.random.default_rng(2).random(SHAPE).astype(np.float32)
    right, wrong, chance = (pixel_flipping(lesion_score, image, found, tissue) for found in (LESION, ELSEWHERE, noise))
    assert right.deletion < chance.deletion < 4.0
    assert right.deletion < wrong.deletion
    assert right.insertion > max(chance.insertion, wrong.insertion)


def test_a_constant_map_flips_in_random_order_not_from_the_top(image, tissue):
    found = [pixel_flipping(lesion_score, image, np.zeros(SHAPE, np.float32), tissue, seed=seed) for seed in range(40)]
    noise = [
        pixel_flipping(lesion_score, image, np.random.default_rng(n).random(SHAPE).astype(np.float32), tissue)
        for n in range(40)
    ]
    assert np.mean([f.deletion for f in found]) == pytest.approx(np.mean([f.deletion for f in noise]), abs=0.1)


def test_faithfulness_of_a_linear_model_is_one_for_its_own_contributions(image, tissue):
    """For a linear score, weight times difference to the baseline sums up to the drop exactly."""
    weights = np.random.default_rng(3).normal(size=SHAPE)
    contribution = (weights * (image - tissue_baseline(image, tissue))).astype(np.float32)

    def score(images):
        return (images * weights).sum(axis=(1, 2), dtype=float)

    assert faithfulness_correlation(score, image, contribution, tissue) == pytest.approx(1.0, abs=1e-4)
    assert faithfulness_correlation(score, image, -contribution, tissue) == pytest.approx(-1.0, abs=1e-4)
    other = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)
    assert abs(faithfulness_correlation(score, image, other, tissue, cell=2, subsets=256)) < 0.3


def test_nothing_that_varies_correlates_with_nothing(image, tissue):
    assert faithfulness_correlation(lambda images: np.zeros(len(images)), image, LESION, tissue) == 0.0
    assert faithfulness_correlation(lesion_score, image, np.zeros(SHAPE, np.float32), tissue) == 0.0
    assert faithfulness_correlation(lesion_score, image, LESION, np.zeros(SHAPE, bool)) == 0.0


def test_sensitivity_by_hand(image, tissue):
    def twice(images):
        return 2.0 * images

    found = 2.0 * image
    reach = 0.1 * image[tissue].std()
    value = sensitivity(twice, image, found, tissue, radius=0.1, draws=32)
    # Uniform noise in +-reach on every pixel of tissue: length reach * sqrt(n / 3) on average, doubled.
    expected = 2 * reach * np.sqrt(tissue.sum() / 3) / np.linalg.norm(found)
    assert value == pytest.approx(expected, rel=0.1)
    assert sensitivity(lambda images: np.repeat(LESION[None], len(images), 0), image, LESION, tissue) == 0.0
    assert np.isnan(sensitivity(twice, image, np.zeros(SHAPE, np.float32), tissue))


def test_sensitivity_leaves_air_alone(image, tissue):
    seen = []

    def explain(images):
        seen.append(images)
        return images

    sensitivity(explain, image, image, tissue)
    assert np.array_equal(seen[0][:, ~tissue], np.repeat(image[~tissue][None], 8, 0))
