"""Configuration: layers, overrides, and what a typing error gets told."""

import pytest

from common.configuration import (
    RunConfig,
    TaskConfig,
    load_run,
    names,
    read_run,
    settings,
    task_from_yaml,
    task_of,
    to_yaml,
)
from common.configuration.combinations import check_combinations
from common.errors import ConfigurationError


def test_every_shipped_scenario_loads():
    for name in names("simulation"):
        assert load_run(name).description, f"{name} has no description"


def test_later_layers_win():
    assert load_run("tiny").method.name == "fedavg"
    changed = load_run("tiny", ["method=fedprox", "method.mu=0.5", "federation.rounds=9", "sites=[A,B]"])
    assert (changed.method.name, changed.method.local_objective, changed.method.mu) == ("fedprox", "proximal", 0.5)
    assert changed.federation.rounds == 9
    assert changed.sites == ["A", "B"]
    assert changed.imaging.height == 64, "the scenario's own setting stays"


def test_a_scenario_can_be_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nmethod: fedprox\nseed: 4\n")
    run = load_run(str(file))
    assert (run.name, run.seed, run.method.name) == ("mine", 4, "fedprox")


def test_yaml_round_trip(tmp_path):
    run = load_run("tiny", ["imaging.spacing_mm=0.5"])
    (tmp_path / "config.yaml").write_text(to_yaml(run))
    assert read_run(tmp_path / "config.yaml") == run
    assert task_from_yaml(to_yaml(task_of(run))) == task_of(run)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("federation.ronds=3", "did you mean 'federation.rounds'"),
        ("rounds=3", "did you mean 'federation.rounds'"),
        ("training.learning_rat=1", "did you mean 'training.learning_rate'"),
        ("federation.rounds=many", "wrong type"),
        ("federation.rounds=null", "wrong type"),
        ("federation=3", "group of settings"),
        ("model.norm=grup", "did you mean 'group'"),
        ("baselines=[lokal]", "did you mean 'local'"),
        ("federation.rounds=0", "out of range"),
        ("training.learning_rate=-1", "out of range"),
        ("method=fedprx", "did you mean 'fedprox'"),
        ("federation.rounds", "is not key=value"),
    ],
)
def test_wrong_overrides_are_named_with_what_to_do(override, says):
    with pytest.raises(ConfigurationError, match=says):
        load_run("tiny", [override])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method.central_clip_norm=1"], "all sites must weigh the same"),
        (["method.central_noise_multiplier=1", "method.site_weights=equal"], "a multiple of a norm that is not set"),
        (["method=dp-fedavg", "method.site_weights=patients"], "all sites must weigh the same"),
        (["method=dp-fedavg", "model.norm=batch"], "running variances"),
        (["method=dp-fedavg", "method.local_objective=control_variates", "training.optimizer=sgd"], "neither clipped"),
    ],
)
def test_what_noise_at_the_server_needs(overrides, says):
    assert load_run("tiny", ["method=dp-fedavg"]).method.central_clip_norm == 1.0
    with pytest.raises(ConfigurationError, match=says):
        load_run("tiny", overrides)


def test_fractions_must_leave_something_to_train_on():
    with pytest.raises(ConfigurationError, match="nothing to train on"):
        load_run("tiny", ["data.validation_fraction=0.6", "data.test_fraction=0.5"])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["method.local_objective=control_variates"], "training.optimizer=adamw: control variates .* plain SGD"),
        (["method=scaffold", "training.momentum=0.9"], "plain SGD"),
        (["method=scaffold", "method.site_weights=worst_site"], "weights that do not change"),
        (["method=scaffold", "method.site_weights=gradient_agreement"], "weights that do not change"),
        (["method=fedbn", "model.norm=group"], "no batch normalisation"),
        (["method=silobn", "model.backbone=convnext_tiny"], "no batch normalisation"),
        (["method=fedavg", "method.personal_epochs=1"], "no site has layers of its own"),
        (["method=silobn", "method.personal_epochs=1"], "no site has layers of its own"),
        (
            ["method=fedbn", "method.personal_epochs=1", "method.local_objective=ditto"],
            "two personal models",
        ),
        (["task=detector", "method.shared_parameters=norm_local"], "model.norm=group: there is no batch"),
    ],
)
def test_choices_that_exclude_each_other_are_refused_with_the_reason(overrides, reason):
    with pytest.raises(ConfigurationError, match=reason) as refused:
        load_run("tiny", overrides)
    assert "do:" in str(refused.value)
    with pytest.raises(ConfigurationError, match=reason):  # a site refuses it too
        check_combinations(settings(RunConfig()) | loose(overrides))


def loose(overrides):
    """What the rows and overrides set, unchecked."""
    rows = {
        "method=scaffold": {"method.local_objective": "control_variates", "training.optimizer": "sgd"},
        "method=fedbn": {"method.shared_parameters": "norm_local"},
        "method=silobn": {"method.shared_parameters": "norm_statistics_local"},
        "task=detector": {"model.norm": "group"},
    }
    found = {}
    for item in overrides:
        key, _, value = item.partition("=")
        found |= rows.get(item, {key: float(value) if key == "training.momentum" else value})
    return found


@pytest.mark.parametrize("objective", ["control_variates", "sharpness_aware", "ditto"])
def test_objectives_beyond_the_privacy_guarantee_are_refused_in_private_training(objective):
    flat = settings(RunConfig()) | {"method.local_objective": objective, "training.optimizer": "sgd"}
    check_combinations(flat)
    with pytest.raises(ConfigurationError, match="beyond what the privacy guarantee counts"):
        check_combinations(flat | {"privacy.unit": "patient"})


def test_unknown_scenario_names_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'tiny'"):
        load_run("tinny")


@pytest.mark.parametrize("text", ["[1, 2]", "a: b: c", "unknown_key: 1", "training: {epochs: 3}"])
def test_a_site_refuses_a_task_it_cannot_type(text):
    with pytest.raises(ConfigurationError):
        task_from_yaml(text)


def test_a_message_cannot_read_the_site_s_environment():
    with pytest.raises(ConfigurationError, match="not allowed"):
        task_from_yaml("method: {name: '${oc.env:HOME}'}")


def test_a_number_cannot_refer_to_another():
    with pytest.raises(ConfigurationError, match=r"training.learning_rate"):
        load_run("tiny", ["training.learning_rate=${method.mu}"])


def test_defaults_are_within_their_own_limits():
    assert task_from_yaml(to_yaml(task_of(RunConfig()))) == task_of(RunConfig())


def test_what_a_reader_does_to_a_configuration_the_next_one_does_not_see(tmp_path):
    """Texts that were typed once are remembered; what a caller gets is its own, and a changed file is read anew."""
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(load_run("tiny")))
    first, task = read_run(file), task_from_yaml(to_yaml(TaskConfig()))
    first.training.learning_rate, first.sites[:] = 9.0, ["NOBODY"]
    task.imaging.height = 1
    assert read_run(file) == load_run("tiny")
    assert task_from_yaml(to_yaml(TaskConfig())) == TaskConfig()
    file.write_text(to_yaml(load_run("tiny", ["seed=7"])))
    assert read_run(file).seed == 7
