"""Paired comparisons: weighted AUC by brute force, resamples by hand, Holm by hand, coverage by simulation."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from common.metrics.bootstrap import breast_counts
from common.metrics.classification import auc
from common.metrics.paired import Answers, Folded, holm, resampled, seed_shares, two_sided_p, weighted_aucs


def answers(scores, targets, patients=None):
    names = [f"p{number}" for number in range(len(targets))] if patients is None else patients
    return Answers(np.array(names), np.array(targets, dtype=np.int64), np.array(scores, dtype=float))


def drawn(random, patients, strength=1.0):
    targets = np.arange(patients) % 2
    return answers(random.normal(size=patients) + strength * targets, targets)


def test_weights_are_as_good_as_repetitions():
    random = np.random.default_rng(0)
    targets, scores = random.integers(0, 2, 30), random.integers(0, 8, 30).astype(float)  # with ties
    weights = random.integers(0, 4, (20, 30)).astype(float)
    expected = [auc(np.repeat(targets, row.astype(int)), np.repeat(scores, row.astype(int))) for row in weights]
    np.testing.assert_allclose(weighted_aucs(targets, scores, weights), expected)


def test_without_one_of_the_classes_there_is_no_auc():
    found = weighted_aucs(np.array([0, 1]), np.array([0.1, 0.2]), np.array([[1.0, 0.0], [1.0, 1.0]]))
    assert np.isnan(found[0]) and found[1] == 1.0
    assert np.isnan(weighted_aucs(np.zeros(0, dtype=np.int64), np.zeros(0), np.ones((2, 0)))).all()


def test_breasts_of_a_patient_are_drawn_together_and_classes_keep_their_numbers():
    patients, targets = ["a", "a", "b", "b", "c", "c", "d", "d"], np.array([0, 1, 0, 0, 0, 0, 1, 1])
    counts = breast_counts(targets, patients, 200, 3)
    assert (counts[:, 0::2] == counts[:, 1::2]).all()
    assert (counts[:, [0, 6]] == 1).all(), "alone in their strata"
    assert set(counts[:, 2]) == {0.0, 1.0, 2.0} and (counts[:, 2] + counts[:, 4] == 2).all()


def test_values_are_means_over_seeds_and_resamples_are_of_seeds_and_patients():
    random = np.random.default_rng(1)
    ways = {
        name: [{"MCS": drawn(random, 20), "TUH": drawn(random, 12)} for _ in range(3)] for name in ("fedavg", "fedbn")
    }
    found = resampled(ways, ["MCS", "TUH"], 50, 7)
    shares = seed_shares(3, 50, 7)
    for name, per_seed in ways.items():
        values = [auc(one["TUH"].targets, one["TUH"].scores) for one in per_seed]
        assert found[name].value[1] == pytest.approx(np.mean(values))
    assert found["fedavg"].samples.shape == (50, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    # The same patients in every seed and way: a resample's mean over seeds is linear in the seeds' shares.
    same = {"one": [{"MCS": ways["fedavg"][0]["MCS"]}] * 3}
    alone = resampled({"one": [{"MCS": ways["fedavg"][0]["MCS"]}] * 2}, ["MCS"], 50, 7)["one"]
    np.testing.assert_allclose(resampled(same, ["MCS"], 50, 7)["one"].samples, alone.samples)


def test_equal_models_differ_by_nothing_in_every_resample():
    one = [{"MCS": drawn(np.random.default_rng(seed), 30)} for seed in (1, 2)]
    found = resampled({"a": one, "b": one}, ["MCS"], 100, 0)
    np.testing.assert_array_equal(found["a"].samples, found["b"].samples)


def test_other_patients_in_each_seed_are_drawn_seed_by_seed():
    """Averaging over S seeds of S times as many patients narrows the interval; over the same patients it does not."""
    random = np.random.default_rng(2)
    same = drawn(random, 60)
    crossed = resampled({"a": [{"MCS": same}] * 4}, ["MCS"], 2000, 0)["a"].samples.std()
    others = [drawn(random, 60) for _ in range(4)]
    nested = [
        {"MCS": Answers(np.array([f"s{seed}{name}" for name in one.patients]), one.targets, one.scores)}
        for seed, one in enumerate(others)
    ]
    apart = [resampled({"a": [one]}, ["MCS"], 2000, 0)["a"].samples.std() for one in nested]
    within = np.sqrt(np.mean(np.square(apart)) / 4)
    between = np.std([auc(one.targets, one.scores) for one in others]) / 2
    # Patients within drawn seeds, and seeds: their variances add up.
    found = resampled({"a": nested}, ["MCS"], 2000, 0)["a"].samples.std()
    assert found == pytest.approx(np.hypot(within, between), rel=0.2)
    alone = resampled({"a": [{"MCS": same}]}, ["MCS"], 2000, 0)["a"].samples.std()
    assert crossed == pytest.approx(alone) and within < 0.6 * alone


def test_the_interval_of_a_paired_difference_covers_the_truth():
    """Binormal models whose AUC is Φ(d/√2); 95 % intervals over 60 simulated studies of 60 patients and 6 seeds."""
    random, hits, studies = np.random.default_rng(3), 0, 60
    truth = norm.cdf(1.2 / np.sqrt(2)) - norm.cdf(0.6 / np.sqrt(2))
    targets = np.arange(60) % 2
    for study in range(studies):
        hard = random.normal(size=60)  # a patient is hard for every model

        def tried(strength, hard=hard):
            noise = random.normal(size=60)
            return answers(np.sqrt(0.7) * hard + np.sqrt(0.3) * noise + strength * targets, targets)

        ways = {name: [{"MCS": tried(strength)} for _ in range(6)] for name, strength in (("a", 1.2), ("b", 0.6))}
        found = resampled(ways, ["MCS"], 200, study)
        low, high = np.quantile(found["a"].samples - found["b"].samples, (0.025, 0.975))
        hits += low <= truth <= high
    assert hits / studies > 0.88


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        ({}, "one number of seeds"),
        ({"a": []}, "one number of seeds"),
        ({"a": [{"MCS": answers([1, 2], [0, 1])}], "b": [{"MCS": answers([1, 2], [0, 1])}] * 2}, "one number of seeds"),
        ({"a": [{"MCS": answers([1, 2], [0, 1])}, {"TUH": answers([1, 2], [0, 1])}]}, "no site in common"),
        ({"a": [{"MCS": answers([1, 2], [0, 1])}], "b": [{"MCS": answers([1, 2], [1, 0])}]}, "same breasts of MCS"),
        ({"a": [{"MCS": answers([1, 2], [0, 1])}], "b": [{"MCS": answers([1, 2], [0, 1], "xy")}]}, "same breasts"),
        ({"a": [{"MCS": answers([1, np.nan], [0, 1])}]}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_compared_is_refused(ways, message):
    with pytest.raises(ValueError, match=message):
        resampled(ways, ["MCS", "TUH"], 10, 0)


def test_a_site_that_a_way_lacks_is_undefined_for_it_alone():
    one, two = answers([1, 2], [0, 1]), answers([2, 1], [0, 1])
    found = resampled({"a": [{"MCS": one, "TUH": two}], "own": [{"MCS": one}]}, ["MCS", "TUH"], 5, 0)
    assert found["a"].value.tolist() == [1.0, 0.0]
    assert (
        found["own"].value[0] == 1.0 and np.isnan(found["own"].value[1]) and np.isnan(found["own"].samples[:, 1]).all()
    )


def test_p_is_the_level_at_which_the_interval_leaves_out_zero():
    random = np.random.default_rng(4)
    differences = random.normal(0.02, 0.01, 4999)
    p = two_sided_p(differences)
    assert p == pytest.approx(2 * norm.cdf(-2), rel=0.2)
    for level, holds in ((p * 0.9, False), (p * 1.1, True)):
        assert (np.quantile(differences, level / 2) > 0) == holds
    assert two_sided_p(np.full(99, 0.5)) == pytest.approx(0.02), "never zero"
    assert two_sided_p(np.zeros(99)) == 1.0
    assert np.isnan(two_sided_p(np.array([0.1, np.nan])))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.4]) == [0.4] and holm([0.6, 0.7]) == [1.0, 1.0]


def test_holm_lies_between_bonferroni_and_benjamini_hochberg():
    p = np.random.default_rng(5).uniform(0, 0.2, 12)
    adjusted = np.array(holm(p.tolist()))
    assert (adjusted <= np.minimum(1, 12 * p) + 1e-12).all()
    assert (adjusted >= false_discovery_control(p) - 1e-12).all()
    assert (np.argsort(adjusted, kind="stable") == np.argsort(p, kind="stable")).all() or len(set(adjusted)) < 12


def test_holm_keeps_the_chance_of_any_false_claim():
    p = np.random.default_rng(6).uniform(size=(4000, 5))
    assert np.mean([min(holm(row.tolist())) <= 0.05 for row in p]) == pytest.approx(0.05, abs=0.012)


def fold_of(random, name, breasts, diseased):
    targets = np.zeros(breasts, dtype=np.int64)
    targets[:diseased] = 1
    patients = np.array([f"{name}{number // 2}" for number in range(breasts)])
    return Answers(patients, targets, random.normal(size=breasts) + targets)


def test_folds_count_by_their_diseased_and_are_drawn_from_by_themselves():
    random = np.random.default_rng(3)
    first, second = fold_of(random, "a", 40, 6), fold_of(random, "b", 30, 10)
    both = Folded((first, second))
    assert both.value() == pytest.approx((6 * first.value() + 10 * second.value()) / 16)
    draws = both.draws(50, seed=1)
    assert draws.shape == (50, 70) and (draws[:, :40].sum(axis=1) == draws[0, :40].sum()).all()
    expected = (6 * first.resampled(draws[:, :40]) + 10 * second.resampled(draws[:, 40:])) / 16
    assert both.resampled(draws) == pytest.approx(expected)


def test_scores_of_different_folds_are_not_ranked_against_each_other():
    """Two folds that each rank perfectly, one of them with all scores above the other's."""
    parts = [Answers(np.array([f"{n}a", f"{n}b"]), np.array([0, 1]), np.array([0.0, 1.0]) + 10 * n) for n in (0, 1)]
    assert Folded(tuple(parts)).value() == 1.0


def test_a_patient_in_two_folds_is_refused():
    one = Answers(np.array(["a", "b"]), np.array([0, 1]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="patient a was tested on in two folds"):
        Folded((one, one)).require_sound()
