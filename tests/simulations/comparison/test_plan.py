"""What a comparison takes to do: equal budgets, shared patients, baselines once a seed; and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import CheckpointError, ConfigurationError
from common.metrics.paired import Answers
from simulations.comparison.answers import read_answers, write_answers
from simulations.comparison.compare import by_way
from simulations.comparison.plan import Asked, Sites, load_methods, read_seeds, reference_of, trainings

OUT = Path("out")


def asked(*methods, seeds=(0, 1), overrides=(), **more):
    return Asked("tiny", tuple(overrides), methods, seeds, **more)


def planned(question, baselines=()):
    sites = Sites(("MCS", "TUH"), ("UNSEEN",), {seed: Path("data") for seed in question.seeds})
    return trainings(question, load_methods(question), baselines, sites, OUT)


def test_a_method_is_a_row_with_settings_of_its_own():
    found = load_methods(asked("fedavg", "scaffold:training.learning_rate=0.05", "fedprox:method.mu=1"))
    assert list(found) == ["fedavg", "scaffold:training.learning_rate=0.05", "fedprox:method.mu=1"]
    rates = [config.training.learning_rate for config in found.values()]
    assert rates == [1e-3, 0.05, 1e-3] and found["fedprox:method.mu=1"].method.mu == 1
    assert all(config.training.threads == 1 and config.baselines == [] for config in found.values())


def test_a_file_is_called_by_its_name(tmp_path):
    file = tmp_path / "ours.yaml"
    file.write_text("method: {name: ours, site_weights: equal}\n")
    (label,) = load_methods(asked(str(file)))
    assert label == "ours"


def test_every_method_and_seed_is_a_run_and_baselines_come_once_a_seed():
    plan = planned(asked("fedavg", "fedbn"), ("local", "pooled"))
    names = [one.name for one in plan if one.seed == 1]
    assert names == [
        "fedavg, seed 1", "fedbn, seed 1", "local MCS, seed 1", "local TUH, seed 1", "pooled, seed 1",
    ]  # fmt: skip
    assert len({one.folder for one in plan}) == len({one.answers for one in plan}) == len(plan) == 10
    assert all(one.config.seed == one.seed for one in plan)
    assert {one.splits for one in plan} == {(("MCS", "test"), ("TUH", "test"), ("UNSEEN", "all"))}


def test_baselines_take_nothing_from_a_method():
    plan = planned(asked("scaffold:training.learning_rate=0.05", "fedprox"), ("local", "pooled"))
    for one in plan:
        if one.merged:
            assert (one.config.training.optimizer, one.config.training.learning_rate) == ("adamw", 1e-3)
            assert (one.config.method.local_objective, one.config.method.mu) == ("plain", 0.0)


def test_an_oracle_is_trained_at_the_unseen_site_and_answers_about_its_test_patients():
    plan = planned(asked("fedavg", "fedbn", oracle=True))
    oracles = [one for one in plan if one.way == "oracle"]
    assert [(one.merged, one.splits) for one in oracles] == [(("UNSEEN",), (("UNSEEN", "test"),))] * 2


def test_with_an_oracle_all_models_are_compared_on_the_patients_that_it_did_not_see(tmp_path):
    question = asked("fedavg", "fedbn", oracle=True)
    sites = Sites(("MCS",), ("UNSEEN",), dict.fromkeys(question.seeds, tmp_path))
    plan = trainings(question, load_methods(question), (), sites, tmp_path)
    everyone, seen = np.array([f"p{number}" for number in range(6)]), 4
    for one in plan:
        names = everyone[seen:] if one.way == "oracle" else everyone
        scores = np.arange(6.0)[-len(names) :] + one.seed
        found = Answers(names, np.array([0, 1, 1, 0, 0, 1])[-len(names) :], scores)
        write_answers(one.answers, {site: found for site, _ in one.splits})
    whole, _ = by_way(question, plan)
    for way in ("fedavg", "fedbn", "oracle"):
        assert whole[way][1]["UNSEEN"].patients.tolist() == ["p4", "p5"]
        assert whole[way][1]["UNSEEN"].scores.tolist() == [5.0, 6.0]
    assert len(whole["fedavg"][0]["MCS"].patients) == 6 and "MCS" not in whole["oracle"][0]


def test_a_cross_validation_trains_every_way_once_a_fold_and_tests_unseen_sites_fold_by_fold():
    plan = planned(asked("fedavg", folds=3, leave_one_out=True), ("local", "pooled"))
    names = [one.name for one in plan if one.seed == 1 and one.fold == 2]
    assert names == [
        "fedavg, seed 1, fold 2", "fedavg without MCS, seed 1, fold 2", "fedavg without TUH, seed 1, fold 2",
        "local MCS, seed 1, fold 2", "local TUH, seed 1, fold 2", "pooled, seed 1, fold 2",
    ]  # fmt: skip
    assert len({one.folder for one in plan}) == len({one.answers for one in plan}) == len(plan) == 2 * 3 * 6
    assert all(one.config.data.fold == one.fold and one.config.data.test_fraction == 1 / 3 for one in plan)
    assert {dict(one.splits).get("UNSEEN", "test") for one in plan} == {"test"}


def test_folds_that_leave_nobody_to_train_on_are_refused():
    with pytest.raises(ConfigurationError, match="to train on"):
        load_methods(asked("fedavg", folds=2, overrides=("data.validation_fraction=0.5",)))


def test_every_patient_is_compared_on_in_the_fold_that_did_not_see_her(tmp_path):
    question = asked("fedavg", folds=2)
    sites = Sites(("MCS",), (), dict.fromkeys(question.seeds, tmp_path))
    plan = trainings(question, load_methods(question), ("pooled",), sites, tmp_path)
    for one in plan:
        names = np.array([f"f{one.fold}-{number}" for number in range(4)])
        write_answers(one.answers, {"MCS": Answers(names, np.array([0, 1, 0, 1]), np.arange(4.0) + one.seed)})
    whole, _ = by_way(question, plan)
    answers = whole["pooled"][1]["MCS"]
    assert answers.patients.tolist() == [f"f{fold}-{number}" for fold in (1, 2) for number in range(4)]
    assert answers.value() == pytest.approx(0.75) and answers.positives() == 4


def test_damaged_answers_are_named(tmp_path):
    (tmp_path / "answers.npz").write_bytes(b"PK not a zip")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_answers(tmp_path / "answers.npz")


def test_each_site_is_left_out_in_turn_and_tested_on_the_patients_it_is_tested_on_otherwise():
    plan = [one for one in planned(asked("fedavg", "fedbn", leave_one_out=True)) if one.without]
    assert [(one.way, one.without) for one in plan if one.seed == 0] == [
        (way, site) for way in ("fedavg", "fedbn") for site in ("MCS", "TUH")
    ]
    for one in plan:
        assert one.without not in one.config.sites and one.config.unseen == [one.without]
        assert one.splits == ((one.without, "test"),)


def test_what_others_are_compared_with():
    assert reference_of(["sam", "fedavg"]) == "fedavg"
    assert reference_of(["sam", "fedbn"]) == "sam"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (asked("fedavg", "fedbm"), "did you mean 'fedbn'"),
        (asked("fedavg", "fedbn", seeds=(3,)), "two or more different seeds, not 3"),
        (asked("fedavg", "fedbn", seeds=(1, 1)), "two or more different seeds"),
        (asked("fedavg", "fedavg"), "named twice"),
        (asked(), "no method to compare"),
        (asked("fedavg", "sam:federation.rounds=9"), "same patients and the same budget"),
        (asked("fedavg", "sam:training.local_epochs=2"), "same patients and the same budget"),
        (asked("fedavg", "sam:data.test_fraction=0.5"), "same patients and the same budget"),
        (asked("fedavg", "sam:method.mew=1"), "unknown configuration key"),
        (asked("fedavg", "fedbn", overrides=["method=sam"]), "use --methods and --seeds"),
        (asked("fedavg", "fedbn", overrides=["seed=4"]), "use --methods and --seeds"),
        (
            Asked("detector-demo", (), ("fedavg", "fedprox:evaluation.hit_rule=centre"), (0, 1)),
            "same patients and the same budget",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(question, message):
    with pytest.raises(ConfigurationError, match=message):
        load_methods(question)


def test_seeds_are_whole_numbers():
    assert read_seeds("0, 1,2") == (0, 1, 2)
    with pytest.raises(ConfigurationError, match="no list of seeds"):
        read_seeds("0,one")
