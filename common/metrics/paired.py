"""Models compared on the same patients: figures over resampled patients and seeds, p-values, and Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import breast_counts
from common.metrics.classification import auc
from common.metrics.inputs import require_scores

Floats = npt.NDArray[np.float64]


class Tested(Protocol):
    """What a model said of one site's test patients, as far as a comparison needs it; its figure is between 0 and 1."""

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """Of what is drawn together: of each breast its patient, or the patients themselves."""
        ...

    def require_sound(self) -> None:
        """Raises ValueError where a figure would mean nothing."""
        ...

    def same_patients(self, other: Tested) -> bool:
        """Whether the other is about the same patients with the same truth."""
        ...

    def draws(self, samples: int, seed: int) -> Floats:
        """How often each of ``patients`` counts in each resample, ``(samples, N)``."""
        ...

    def value(self) -> float:
        """The figure; NaN where it is not defined."""
        ...

    def positives(self) -> float:
        """How many it is about that there is something to find in: what its figure counts in a mean over folds."""
        ...

    def resampled(self, draws: Floats) -> Floats:
        """The figure of each resample, ``(samples,)``."""
        ...


@dataclass(frozen=True)
class Answers:
    """A classifier's answers for the test breasts of one site, all ``(N,)``: patient, target 0 or 1, score.

    Its figure is the AUC.
    """

    patients: npt.NDArray[np.str_]
    targets: npt.NDArray[np.int64]
    scores: Floats

    def require_sound(self) -> None:
        """Raises ValueError as :func:`require_scores`."""
        require_scores(self.targets, self.scores)

    def same_patients(self, other: Tested) -> bool:
        """Whether the other is about the same breasts."""
        return (
            isinstance(other, Answers)
            and np.array_equal(self.patients, other.patients)
            and np.array_equal(self.targets, other.targets)
        )

    def draws(self, samples: int, seed: int) -> Floats:
        """How often each breast counts."""
        return breast_counts(self.targets, self.patients.tolist(), samples, seed)

    def value(self) -> float:
        """AUC."""
        return auc(self.targets, self.scores)

    def positives(self) -> float:
        """Diseased breasts."""
        return float(self.targets.sum())

    def resampled(self, draws: Floats) -> Floats:
        """AUC of each resample."""
        return weighted_aucs(self.targets, self.scores, draws)


@dataclass(frozen=True)
class Folded:
    """Answers of the models of a cross-validation, each about the patients of its own fold.

    Its figure is the mean of the folds' figures, each counted by its :meth:`Tested.positives`. Scores of different
    models are never ranked against each other.

    Source: Forman & Scholz 2010, "Apples-to-apples in cross-validation studies", SIGKDD Explorations 12:49.
    """

    parts: tuple[Tested, ...]

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """Of all folds, one after the other."""
        return np.concatenate([part.patients for part in self.parts])

    def require_sound(self) -> None:
        """Raises ValueError as the parts do, or where a patient is in two folds."""
        seen: set[str] = set()
        for part in self.parts:
            part.require_sound()
            own = set(part.patients.tolist())
            if twice := seen & own:
                raise ValueError(f"patient {min(twice)} was tested on in two folds")
            seen |= own

    def same_patients(self, other: Tested) -> bool:
        """Whether the other is about the same patients in the same folds."""
        return (
            isinstance(other, Folded)
            and len(self.parts) == len(other.parts)
            and all(mine.same_patients(its) for mine, its in zip(self.parts, other.parts, strict=True))
        )

    def draws(self, samples: int, seed: int) -> Floats:
        """How often each counts; every fold is drawn from by itself."""
        return np.hstack([part.draws(samples, _seed_of(seed, place)) for place, part in enumerate(self.parts)])

    def value(self) -> float:
        """Mean of the folds' figures."""
        return float(np.average([part.value() for part in self.parts], weights=self._weights()))

    def positives(self) -> float:
        """Of all folds."""
        return sum(part.positives() for part in self.parts)

    def resampled(self, draws: Floats) -> Floats:
        """The figure of each resample."""
        cuts = np.cumsum([len(part.patients) for part in self.parts])[:-1]
        columns = np.split(draws, cuts, axis=1)
        found = [part.resampled(column) for part, column in zip(self.parts, columns, strict=True)]
        return np.asarray(np.average(found, axis=0, weights=self._weights()))

    def _weights(self) -> list[float]:
        return [part.positives() for part in self.parts]


@dataclass(frozen=True)
class Resampled:
    """Figure of each site, mean over seeds: ``value (sites,)``, and of resamples ``(samples, sites)``; NaN if none."""

    value: Floats
    samples: Floats


Ways = Mapping[str, Sequence[Mapping[str, Tested]]]
"""By what was trained: for each seed the answers by site."""


def resampled(ways: Ways, sites: Sequence[str], samples: int, seed: int) -> dict[str, Resampled]:
    """The figure of every way at every site, with one set of resamples for all, so that differences are paired.

    A resample draws seeds with replacement, and at each site patients with all their breasts, within the strata of
    :func:`common.metrics.bootstrap.bootstrap_interval`. Where all seeds have the same test patients, a resample draws
    the same ones for all seeds (two crossed factors); where each seed has its own, they are drawn seed by seed.
    Of few seeds the resampled seeds vary too little, by (S - 1)/S in variance; what varies with patient and seed
    together is counted too often, which is on the cautious side.

    Args:
        ways: by what was trained, for each seed the answers by site; a way need not have every site.
        sites: in the order of the result.
        samples: how many resamples.
        seed: of the resampling.

    Raises:
        ValueError: no way, not one seed, ways of different numbers of seeds, other patients or targets than another
            way has, no site that all seeds of a way have, or what :meth:`Tested.require_sound` refuses.

    Source: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1:386 (crossed factors).
    """
    seeds = {len(per_seed) for per_seed in ways.values()}
    if len(seeds) != 1 or seeds == {0}:
        raise ValueError(f"all ways need one number of seeds, at least one; found {sorted(seeds)}")
    (number,) = seeds
    for name, per_seed in ways.items():
        if not set.intersection(*(set(answers) for answers in per_seed)) & set(sites):
            raise ValueError(f"{name} has no site in common over its seeds")
    share = seed_shares(number, samples, seed)
    values = {name: np.full((number, len(sites)), np.nan) for name in ways}
    drawn = {name: np.full((samples, number, len(sites)), np.nan) for name in ways}
    for column, site in enumerate(sites):
        cells = {name: [answers.get(site) for answers in per_seed] for name, per_seed in ways.items()}
        firsts = [_same_patients(site, [row[place] for row in cells.values()]) for place in range(number)]
        crossed = all(
            one is not None and firsts[0] is not None and np.array_equal(one.patients, firsts[0].patients)
            for one in firsts
        )
        counts: Floats = np.empty((0, 0))
        for place, first in enumerate(firsts):
            if first is None:
                continue
            if not place or not crossed or not len(counts):
                owner = _seed_of(seed, column, place)
                counts = first.draws(samples, owner)
            for name, row in cells.items():
                answers = row[place]
                if answers is not None:
                    values[name][place, column] = answers.value()
                    drawn[name][:, place, column] = answers.resampled(counts)
    return {name: Resampled(values[name].mean(axis=0), np.einsum("bs,bsk->bk", share, drawn[name])) for name in ways}


def _same_patients(site: str, answers: Sequence[Tested | None]) -> Tested | None:
    """The first that is there, of answers that must be about the same breasts."""
    there = [one for one in answers if one is not None]
    for one in there:
        one.require_sound()
        if not there[0].same_patients(one):
            raise ValueError(f"the models were not tested on the same breasts of {site}")
    return there[0] if there else None


def _seed_of(seed: int, *address: int) -> int:
    return int(np.random.SeedSequence([seed, *address]).generate_state(1)[0])


def seed_shares(number: int, samples: int, seed: int) -> Floats:
    """How much each of ``number`` seeds counts in each resample, ``(samples, number)``; rows sum to 1."""
    random = np.random.default_rng(_seed_of(seed, 2**31))
    return np.asarray(random.multinomial(number, np.full(number, 1 / number), size=samples) / number)


def weighted_aucs(targets: npt.NDArray[np.int64], scores: Floats, weights: Floats) -> Floats:
    """AUC with breast i counted ``weights[b, i]`` times, ``(samples,)``; ties count half; NaN without both classes.

    Args:
        targets: ``(N,)``, 0 or 1.
        scores: ``(N,)``.
        weights: ``(samples, N)``, not negative.
    """
    require_scores(targets, scores)
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    if not len(starts):
        return np.full(len(weights), np.nan)
    sorted_weights, diseased = weights[:, order], targets[order] == 1
    positive = np.add.reduceat(sorted_weights * diseased, starts, axis=1)
    negative = np.add.reduceat(sorted_weights * ~diseased, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(pairs > 0, (positive * below).sum(axis=1) / pairs, np.nan))


def two_sided_p(differences: Floats) -> float:
    """Smallest level at which the percentile interval of resampled differences ``(samples,)`` leaves out zero.

    2 · min(#(d ≤ 0) + 1, #(d ≥ 0) + 1) / (samples + 1), at most 1: never zero. NaN where a difference is NaN.

    Source: Davison & Hinkley 1997, "Bootstrap Methods and their Application", sections 4.2.5 and 5.4.
    """
    if np.isnan(differences).any():
        return float("nan")
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (tail + 1) / (len(differences) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: the i-th smallest of m becomes the largest of (m - j + 1) · p_(j) over j ≤ i, at most 1.

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection below alpha, however
    the comparisons depend on each other.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6:65.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
