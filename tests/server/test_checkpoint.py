"""Checkpoints survive a round trip, refuse what is not theirs, and never lose an earlier one."""

import errno
import os

import pytest
import torch

from common.configuration import RunConfig, settings
from common.errors import CheckpointError, StorageError
from server.aggregation.optimizer import OptimizerState
from server.checkpoint import Checkpoint, fingerprint, load, path_of, prune, save, saved_rounds
from server.history import RoundRecord


def checkpoint(number=1):
    model = {"w": torch.randn(4, generator=torch.Generator().manual_seed(number)), "count": torch.tensor(3)}
    return Checkpoint(model, OptimizerState({"w": torch.ones(4)}), RoundRecord(number, seconds=1.5))


def test_round_trip_is_exact(tmp_path):
    save(tmp_path, checkpoint(), RunConfig())
    read = load(path_of(tmp_path, 1), RunConfig())
    assert torch.equal(read.model["w"], checkpoint().model["w"])
    assert read.model["count"].dtype == torch.int64
    assert torch.equal(read.optimizer.velocity["w"], torch.ones(4))
    assert read.record == checkpoint().record


def test_what_a_method_carries_on_comes_back_exactly(tmp_path):
    carried = Checkpoint(
        {"w": torch.ones(2)},
        OptimizerState({"w": torch.ones(2)}, {"w": torch.tensor([1e-6, 3.0])}),
        RoundRecord(2),
        {"w": torch.tensor([0.1, -7.0])},
        {"MCS": 1 / 3, "TUH": 2 / 3},
    )
    save(tmp_path, carried, RunConfig())
    read = load(path_of(tmp_path, 2), RunConfig())
    assert torch.equal(read.optimizer.square["w"], carried.optimizer.square["w"])
    assert torch.equal(read.variate["w"], carried.variate["w"]) and read.weights == carried.weights


def test_another_configuration_is_refused(tmp_path):
    save(tmp_path, checkpoint(), RunConfig())
    with pytest.raises(CheckpointError, match="another configuration"):
        load(path_of(tmp_path, 1), RunConfig(seed=1))


def test_a_setting_that_a_later_version_adds_does_not_part_a_run_from_its_checkpoints(monkeypatch):
    before = fingerprint(RunConfig(seed=3))
    known = settings(RunConfig())
    monkeypatch.setattr("server.checkpoint.settings", lambda config: {**settings(config), "training.new": 1})
    assert "training.new" not in known and fingerprint(RunConfig(seed=3)) == before != fingerprint(RunConfig(seed=4))


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-1] + b"\x7f"]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    save(tmp_path, checkpoint(), RunConfig())
    path = path_of(tmp_path, 1)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"round-0001.safetensors"):
        load(path, RunConfig())


def test_disk_full_is_named_and_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, checkpoint(1), RunConfig())

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        save(tmp_path, checkpoint(2), RunConfig())
    assert "free some space" in str(caught.value)
    assert saved_rounds(tmp_path) == [1]
    assert [item.name for item in (tmp_path / "checkpoints").iterdir()] == ["round-0001.safetensors"]
    load(path_of(tmp_path, 1), RunConfig())


def test_prune_keeps_the_newest_and_the_best(tmp_path):
    for number in range(1, 7):
        save(tmp_path, checkpoint(number), RunConfig())
    prune(tmp_path, keep=2, best=3)
    assert saved_rounds(tmp_path) == [3, 5, 6]
