"""Poisson sampling of patients, by statistics that chance fails once in a million runs."""

import numpy as np
import pytest
from scipy import stats

from client.privacy.sampling import draw, patients_of
from common.entropy import Entropy

PATIENTS, RATE, DRAWS = 40, 0.3, 4000


@pytest.fixture(scope="module")
def drawn():
    """Who was drawn, ``(DRAWS, PATIENTS)``."""
    entropy, found = Entropy(), np.zeros((DRAWS, PATIENTS), dtype=bool)
    for number in range(DRAWS):
        found[number, draw(PATIENTS, RATE, entropy)] = True
    return found


def test_breasts_belong_to_their_patients(site):
    assert [item.tolist() for item in patients_of(site)] == [[0, 4], [1, 3, 5, 6], [2], [7]]


def test_every_patient_is_drawn_with_the_same_probability(drawn):
    for times in drawn.sum(axis=0):
        assert stats.binomtest(int(times), DRAWS, RATE).pvalue > 1e-6 / PATIENTS


def test_the_number_drawn_is_binomial(drawn):
    """A fixed number, or a shuffled epoch, would have no such spread."""
    sizes = drawn.sum(axis=1)
    counts = np.bincount(sizes, minlength=PATIENTS + 1)
    expected = DRAWS * stats.binom.pmf(np.arange(PATIENTS + 1), PATIENTS, RATE)
    kept = expected > 5
    observed, wanted = np.append(counts[kept], counts[~kept].sum()), np.append(expected[kept], expected[~kept].sum())
    assert stats.chisquare(observed, wanted).pvalue > 1e-6
    assert len({tuple(np.flatnonzero(row)) for row in drawn}) > 0.99 * DRAWS


def test_patients_are_drawn_independently(drawn):
    """No pair goes together or apart, in a step or from one step to the next."""
    correlation = np.corrcoef(drawn.T.astype(float))
    pairs = correlation[np.triu_indices(PATIENTS, 1)]
    following = [np.corrcoef(drawn[:-1, n], drawn[1:, n])[0, 1] for n in range(PATIENTS)]
    bound = stats.norm.isf(1e-6 / (2 * (len(pairs) + PATIENTS))) / np.sqrt(DRAWS)
    assert np.abs(pairs).max() < bound and np.abs(following).max() < bound


def test_everybody_and_nobody():
    assert draw(5, 1.0, Entropy()).tolist() == [0, 1, 2, 3, 4]
    assert draw(1000, 1e-12, Entropy()).tolist() == []
