"""The personal model at the end: what is trained on, what stays, how it is chosen; and the row that ends with it."""

from dataclasses import replace

import pytest
import torch

from client import tuning
from client.site import Site
from client.tasks.classifier import validate
from client.tuning import fine_tuned
from common.configuration import task_of, to_yaml
from common.data.scale import awaits_scale
from common.packing import from_bytes
from common.parameters import local_names
from common.protocol import EvaluateTask
from server.checkpoint import load, path_of
from server.harmonisation import with_scale
from server.rounds import evaluate, run_rounds
from tests.small_sites import SmallFederation

QUICK = ["evaluation.explained=0", "evaluation.gallery=0", "evaluation.bootstrap_samples=10"]


@pytest.fixture
def small(tmp_path, monkeypatch):
    return SmallFederation(tmp_path, monkeypatch)


def ended(small, folder, row, *overrides):
    """Configuration, records and last model of a run of two rounds; its scale is settled if it has one."""
    folder.mkdir(parents=True, exist_ok=True)
    federation = with_scale(small.federation(folder, small.config(row, *QUICK, *overrides)))
    records = run_rounds(federation, dict(small.model(federation.config).state_dict()))
    return federation.config, records, load(path_of(folder, 2), federation.config).model


def finally_measured(small, folder, config, records, state, *sites):
    task = EvaluateTask(to_yaml(task_of(config)), 2, 0, "test", final=True)
    reports, bad = evaluate(small.federation(folder, config), state, list(sites), task, records)
    assert not bad, bad
    return reports


def kept(folder, site):
    """What a site keeps: bytes by round."""
    return {file.name: file.read_bytes() for file in (folder / "sites" / site / "methods").glob("*/round-*")}


def parts_of(file):
    """Own layers and personal model."""
    tensors, _ = from_bytes(file)
    return (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in ("own/", "personal/")
    )


def loss_of(small, config, state, site):
    model = small.model(config)
    model.load_state_dict(state)
    return validate(model, small.data[site].of_split("validation"), task_of(config), site).loss


@pytest.mark.parametrize(("row", "shared"), [("combined", "norm_local"), ("fedper", "backbone")])
def test_only_own_layers_are_trained_on_and_the_result_is_never_worse_on_validation_patients(
    small, tmp_path, row, shared
):
    config, records, state = ended(small, tmp_path, row, "method.personal_epochs=3", "training.learning_rate=0.02")
    before = kept(tmp_path, "TUH")
    report = finally_measured(small, tmp_path, config, records, state, "TUH")["TUH"]
    after = kept(tmp_path, "TUH")
    assert before["round-0001.safetensors"] == after["round-0001.safetensors"]
    own, personal = parts_of(after["round-0002.safetensors"])
    local, common = local_names(small.model(config), shared), {**state, **own}
    assert set(own) == local and set(personal) == set(state)
    assert all(torch.equal(value, common[name]) for name, value in personal.items() if name not in local)
    assert not all(torch.equal(personal[name], common[name]) for name in local)
    assert loss_of(small, config, personal, "TUH") < loss_of(small, config, common, "TUH")
    model = small.model(config)
    model.load_state_dict(personal)
    alone = validate(model, small.data["TUH"].of_split("test"), task_of(config), "TUH")
    assert report.personal.auc.value == alone.auc.value and report.personal.loss == pytest.approx(alone.loss, abs=1e-6)
    again = finally_measured(small, tmp_path, config, records, state, "TUH")["TUH"]
    assert replace(again, seconds=0) == replace(report, seconds=0) and kept(tmp_path, "TUH") == after


def test_a_site_that_never_trained_and_a_round_before_the_last_have_no_personal_model(small, tmp_path):
    config, records, state = ended(small, tmp_path, "fedbn", "method.personal_epochs=1")
    assert finally_measured(small, tmp_path, config, records, state, "RAW")["RAW"].personal is None
    assert all(found.personal is None for found in records[-1].validation.values())


def choosing(small, tmp_path, monkeypatch, losses):
    """The epoch that is chosen when the model as it came, and after each epoch, has these losses."""
    config = small.config("fedbn", f"method.personal_epochs={len(losses) - 1}")
    site, model = Site("TUH", tmp_path, tmp_path / "site"), small.model(config)
    order = EvaluateTask(to_yaml(task_of(config)), 2, 0, "test", final=True, run="0" * 32, continues=2)
    tuning.memory.write(site, order.run, 2, {"own/x": torch.ones(1)}, set())
    local = sorted(local_names(model, "norm_local") & {name for name, _ in model.named_parameters()})
    told = iter(losses)

    def step(tuned, *_, **__):
        with torch.no_grad():
            tuned.get_parameter(local[0]).add_(1.0)

    monkeypatch.setattr(tuning, "train", step)
    monkeypatch.setattr(tuning, "_loss", lambda *_: next(told))
    found = fine_tuned(site, order, task_of(config), model, small.data["TUH"])
    if found is None:
        return None
    assert {name for name, value in found.named_parameters() if value.requires_grad} == {
        name for name, value in model.named_parameters() if value.requires_grad
    }
    return round((found.get_parameter(local[0]) - model.get_parameter(local[0])).mean().item())


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [([0.5, 0.6, 0.4, 0.45], 2), ([0.5, 0.5, 0.7], 0), ([0.5, float("nan"), 0.4], 2), ([None, 0.1], None)],
    ids=["best epoch", "common model", "diverged once", "nobody to choose by"],
)
def test_the_lowest_validation_loss_chooses_and_the_common_model_wins_a_tie(
    small, tmp_path, monkeypatch, losses, epoch
):
    assert choosing(small, tmp_path, monkeypatch, losses) == epoch


def test_every_part_of_the_row_combined_is_in_effect(small, tmp_path):
    asked = small.config("combined")
    assert asked.imaging.harmonisation == "landmarks" and awaits_scale(asked.imaging) and asked.model.norm == "batch"
    config, records, state = ended(small, tmp_path, "combined")
    assert len(config.imaging.standard_scale) == 9, "the sites have agreed on landmarks"
    first, second = ({site: found.weight for site, found in record.train.items()} for record in records)
    assert first["MCS"] == first["TUH"] and second["MCS"] != pytest.approx(second["TUH"], abs=1e-3)
    reports = finally_measured(small, tmp_path, config, records, state, "MCS", "TUH")
    own = {site: next(parts_of(kept(tmp_path, site)["round-0002.safetensors"])) for site in reports}
    assert set(own["MCS"]) == local_names(small.model(config), "norm_local")
    learnt = [name for name in own["MCS"] if name.endswith("weight")]
    assert learnt and not any(torch.equal(own["MCS"][name], own["TUH"][name]) for name in learnt)
    assert all(report.personal is not None for report in reports.values())
