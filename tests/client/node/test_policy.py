"""What a hospital allows: every rule refuses what it should, and the shipped methods pass."""

import datetime
from dataclasses import replace

import pytest
import yaml
from flwr.app import ConfigRecord, Message, RecordDict

from client.node.home import SiteHome, read_settings
from client.node.policy import Policy, check_budget, check_hours, check_patients, check_private, check_task
from client.node.request import check_request, refuse, size_of
from client.privacy.budget import Cost
from client.site import Site
from common.configuration import load_run, names, task_of, to_yaml
from common.errors import ConfigurationError, ManifestError, PolicyRefusalError, PrivacyBudgetError
from common.packing import pack
from common.protocol import DescribeTask, EvaluateTask, Refusal, TrainTask
from common.wire import decode, encode


def task(*overrides):
    return task_of(load_run("tiny", list(overrides)))


@pytest.mark.parametrize(
    ("scenario", "method"),
    [*((name, "fedavg") for name in names("simulation")), *(("phantom", name) for name in names("method"))],
)
def test_everything_shipped_passes_the_default_policy(scenario, method):
    needed = ["model.norm=group"] if method == "dp-fedavg" else []
    check_task(Policy(), task_of(load_run(scenario, [f"method={method}", *needed])), rounds=1000)


@pytest.mark.parametrize(
    ("policy", "overrides", "words"),
    [
        (Policy(tasks=["detector"]), [], "task 'classifier' is not allowed"),
        (Policy(methods=["fedavg"]), ["method=fedprox"], "method 'fedprox' is not allowed"),
        (Policy(local_objectives=["plain"]), ["method=fedprox"], "local_objective 'proximal' is not allowed"),
        (Policy(), ["training.local_epochs=21"], "training.local_epochs = 21 is not allowed (1 to 20)"),
        (Policy(), ["imaging.height=4096"], "imaging.height = 4096"),
        (Policy(ranges={"training.learning_rate": [0, 1e-4]}), [], "training.learning_rate"),
        (Policy(fixed={"data.unreadable": "stop"}), ["data.unreadable=skip"], "data.unreadable = skip"),
        (Policy(rounds=5), [], "6 rounds are not allowed (at most 5)"),
    ],
)
def test_what_the_policy_forbids_is_refused_by_its_setting(policy, overrides, words):
    with pytest.raises(PolicyRefusalError) as refused:
        check_task(policy, task(*overrides), rounds=6)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("policy", "must"),
    [
        (Policy(), False),
        (Policy(maximum_epsilon=8), True),
        (Policy(maximum_epsilon_run=8), True),
        (Policy(private_tasks=["classifier"]), True),
        (Policy(private_tasks=["detector"]), False),
        (Policy(maximum_epsilon=8, private_tasks=["detector"]), False),
    ],
)
def test_a_budget_means_that_nothing_is_trained_without_one_unless_the_site_says_so(policy, must):
    """Else a coordinator would only have to leave privacy out."""
    assert policy.must_be_private("classifier") is must
    if must:
        with pytest.raises(
            PolicyRefusalError, match=r"only trained with patient-level privacy here, privacy\.unit = none"
        ):
            check_private(policy, task())
    else:
        check_private(policy, task())
    check_private(policy, task("privacy.unit=patient", "privacy.epsilon=8"))


def costing(**changes):
    """Two rounds of five are done, each costs 1."""
    told = {"delta": 1e-4, "run_before": 2.0, "run_after": 3.0, "run_planned": 5.0, "total_delta": 1e-4,
            "total_before": 4.0, "total_after": 5.0, "total_planned": 7.0}  # fmt: skip
    return Cost(**told | changes)


@pytest.mark.parametrize(
    ("policy", "cost", "whole_run", "words"),
    [
        (Policy(), costing(), True, ""),
        (Policy(maximum_epsilon=5), costing(), False, ""),
        (Policy(maximum_epsilon=4.9), costing(), False, "one more round would overrun the budget"),
        (Policy(maximum_epsilon=6.9), costing(run_before=0.0), True, "the run would overrun the budget"),
        (Policy(maximum_epsilon=7), costing(run_before=0.0), True, ""),
        (Policy(maximum_epsilon=6.9), costing(), True, ""),
        (Policy(maximum_epsilon_run=2.9), costing(), False, "one more round would take the run to epsilon 3 "),
        (Policy(maximum_epsilon_run=4), costing(run_before=0.0), True, "the run would cost epsilon 5 "),
        (Policy(maximum_delta=1e-5), costing(), False, "delta 0.0001 is not allowed"),
        (Policy(maximum_delta=1e-4), costing(), False, ""),
    ],
)
def test_a_budget_is_judged_by_the_whole_run_before_it_and_round_by_round_in_it(policy, cost, whole_run, words):
    if not words:
        check_budget(policy, cost, whole_run=whole_run)
        return
    with pytest.raises(PrivacyBudgetError) as refused:
        check_budget(policy, cost, whole_run=whole_run)
    assert words in str(refused.value)
    assert "4" not in str(refused.value).split("(policy")[0], "what others have spent"


@pytest.mark.parametrize(
    ("hours", "allowed", "forbidden"),
    [
        ("20:00-06:00", ["20:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "19:59"]),
        ("08:00-18:00", ["08:00", "17:59"], ["18:00", "07:59", "00:00"]),
    ],
)
def test_training_hours_may_span_midnight(hours, allowed, forbidden):
    policy = Policy(training_hours=hours)
    for text in allowed:
        check_hours(policy, datetime.time.fromisoformat(text))
    for text in forbidden:
        with pytest.raises(PolicyRefusalError, match="training is allowed from"):
            check_hours(policy, datetime.time.fromisoformat(text))


def test_fewer_patients_than_the_policy_asks_for_are_not_named():
    check_patients(Policy(minimum_patients=8), 8)
    with pytest.raises(PolicyRefusalError) as refused:
        check_patients(Policy(minimum_patients=8), 5)
    assert "5" not in str(refused.value)


@pytest.mark.parametrize(
    "policy",
    [
        {"ranges": {"training.local_epoch": [1, 2]}},
        {"ranges": {"training.local_epochs": [2, 1]}},
        {"ranges": {"training.local_epochs": [2]}},
        {"fixed": {"nonsense": 1}},
        {"training_hours": "always"},
        {"training_hours": "25:00-06:00"},
        {"minimum_patients": 0},
        {"minimum_steps": 0},
        {"minimum_cell": -1},
        {"decimals": -1},
        {"maximum_epsilon": 0},
        {"maximum_epsilon_run": -1.0},
        {"maximum_epsilon": float("nan")},
        {"maximum_delta": 1.0},
        {"private_tasks": ["classifyer"]},
        {"roundz": 3},
        {"rounds": "many"},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_before_it_is_relied_on(tmp_path, policy):
    settings = {"site": "TUH", "federation": "f", "address": "a:1", "data": ".", "code": "x", "policy": policy}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigurationError):
        read_settings(SiteHome(tmp_path))


NIGHT = datetime.time(23)
TRAIN = TrainTask(to_yaml(task()), 1, 3, 0, "bfloat16")


@pytest.mark.parametrize(
    ("asked", "content"),
    [
        ("query.shell", encode(DescribeTask(to_yaml(task())))),
        ("train", encode(DescribeTask(to_yaml(task())))),
        ("evaluate", encode(TRAIN)),
        ("train", RecordDict()),
        ("train", RecordDict({"message": ConfigRecord({"kind": "Shell", "body": "ls"})})),
    ],
    ids=["unknown question", "describe as train", "train as evaluate", "nothing", "not ours"],
)
def test_only_the_three_questions_are_answered(tmp_path, asked, content):
    with pytest.raises(PolicyRefusalError, match="only describe, train and evaluate"):
        check_request(Policy(), Site("TUH", tmp_path, tmp_path), asked, content, NIGHT)


def test_the_policy_comes_before_the_data_are_touched(tmp_path):
    """The data folder is empty: what is allowed fails on it, what is forbidden does not get so far."""
    site = Site("TUH", tmp_path, tmp_path)
    day = Policy(training_hours="20:00-06:00")
    evaluation = encode(EvaluateTask(to_yaml(task()), 1, 0, "validation"))
    with pytest.raises(PolicyRefusalError):
        check_request(day, site, "train", encode(TRAIN), datetime.time(12))
    for asked, content in (("train", encode(TRAIN)), ("evaluate", evaluation)):
        with pytest.raises(ManifestError):
            check_request(day, site, asked, content, NIGHT)


def test_a_last_evaluation_in_which_the_site_trains_on_is_held_to_the_rules_of_training(tmp_path):
    site, tuned = Site("TUH", tmp_path, tmp_path), to_yaml(task("method=fedbn", "method.personal_epochs=1"))
    measured = EvaluateTask(tuned, 3, 0, "test", final=True, continues=3)
    for policy in (Policy(training_hours="20:00-06:00"), Policy(private_tasks=["classifier"])):
        with pytest.raises(PolicyRefusalError, match=r"training is allowed|only trained"):
            check_request(policy, site, "evaluate", encode(measured), datetime.time(12))
        for other in (replace(measured, final=False), replace(measured, continues=0)):
            with pytest.raises(ManifestError):
                check_request(policy, site, "evaluate", encode(other), datetime.time(12))
    with pytest.raises(PolicyRefusalError, match=r"method.personal_epochs = 1"):
        check_request(Policy(ranges={"method.personal_epochs": [0, 0]}), site, "evaluate", encode(measured), NIGHT)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PolicyRefusalError("6 rounds are not allowed"), "6 rounds are not allowed"),
        (ManifestError("patient Suzuki has two labels", where="data/manifest.csv:3"), "A manifest cannot be read"),
        (ZeroDivisionError("patient Suzuki"), "its own log says why"),
    ],
)
def test_a_refusal_tells_the_rule_but_nothing_of_the_site(error, told):
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    question = Message(RecordDict(), 2, "train")
    question.metadata.__dict__["_message_id"] = "1"
    refusal = decode(refuse(question, error).content, Refusal)
    assert told in refusal.meaning
    assert "Suzuki" not in refusal.meaning
    assert "manifest.csv" not in refusal.meaning


def test_the_size_of_a_message_is_that_of_its_texts_and_arrays():
    import torch

    array = pack({"w": torch.zeros(1000)})
    content = encode(TRAIN, array)
    text = content["message"]
    assert size_of(content) == len(content["arrays"]["packed"].data) + len(text["kind"]) + len(text["body"].encode())
    assert size_of(content) > array.nbytes
