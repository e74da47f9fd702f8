"""Tissue that is put in another's place: nothing else changes, no edge is left, and its texture is tissue's."""

import numpy as np
import pytest

from client.explanation.case.transplant import transplanted

TISSUE = np.zeros((64, 48), bool)
TISSUE[4:60, :40] = True
REGION = np.zeros_like(TISSUE)
REGION[20:32, 10:24] = True


def noise(seed=0):
    return np.where(TISSUE, np.random.default_rng(seed).normal(0.0, 0.3, TISSUE.shape), -3.0).astype(np.float32)


def test_only_the_region_changes():
    found = transplanted(noise(), TISSUE, REGION, np.random.default_rng(1))
    assert np.array_equal(found[~REGION], noise()[~REGION])
    assert not np.isclose(found[REGION], noise()[REGION]).any()


def test_a_slope_is_continued():
    """A piece of a plane fitted into the plane is the plane: what is left of a lesion is nothing."""
    rows, columns = np.indices(TISSUE.shape)
    plane = np.where(TISSUE, 0.05 * rows - 0.03 * columns, -3.0).astype(np.float32)
    found = transplanted(np.where(REGION, plane + 4.0, plane), TISSUE, REGION, np.random.default_rng(0))
    assert found == pytest.approx(plane, abs=1e-4)


def test_the_texture_is_that_of_tissue():
    with_lesion = np.where(REGION, np.float32(4.0), noise())
    spread = [transplanted(with_lesion, TISSUE, REGION, np.random.default_rng(n))[REGION] for n in range(8)]
    assert np.mean([values.std() for values in spread]) == pytest.approx(0.3, rel=0.25)
    assert np.mean([values.mean() for values in spread]) == pytest.approx(0.0, abs=0.15)


def test_the_same_random_numbers_give_the_same_piece():
    first, again = (transplanted(noise(), TISSUE, REGION, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, transplanted(noise(), TISSUE, REGION, np.random.default_rng(4)))


def test_a_region_at_the_edge_or_over_everything_stays_finite_and_air_stays_air():
    corner = np.zeros_like(TISSUE)
    corner[:12, :10] = True
    for region in (corner, np.ones_like(TISSUE), np.zeros_like(TISSUE)):
        found = transplanted(noise(), TISSUE, region, np.random.default_rng(0))
        assert np.isfinite(found).all()
        assert (found[~TISSUE] == -3.0).all()
