"""What a site keeps of a run: exact, atomic, bounded, and never under a name that a coordinator could abuse."""

import errno
import os

import pytest
import torch

from client import memory
from client.site import Site
from common.errors import SiteStateError, StorageError, WireError

RUN = "0123456789abcdef" * 2


@pytest.fixture
def site(tmp_path):
    return Site("TUH", tmp_path / "data", tmp_path / "state")


def keep(site, number, keep=frozenset(), run=RUN):
    memory.write(site, run, number, {"own/w": torch.tensor([number, 0.1])}, set(keep))


def kept(site, run=RUN):
    return sorted(int(file.stem.removeprefix("round-")) for file in (site.state / "methods" / run).iterdir())


def test_what_is_kept_comes_back_exactly(site):
    keep(site, 7)
    assert torch.equal(memory.read(site, RUN, 7)["own/w"], torch.tensor([7, 0.1]))


def test_before_the_first_round_there_is_nothing(site):
    assert memory.read(site, RUN, 0) == {}


def test_the_last_rounds_the_one_gone_on_from_and_the_best_are_kept(site):
    for number in range(1, 9):
        keep(site, number, {3, number - 1})
    assert kept(site) == [3, 6, 7, 8]


def test_a_round_that_begins_again_forgets_what_came_after_it(site):
    for number in range(1, 6):
        keep(site, number)
    keep(site, 4, {3})
    assert kept(site) == [3, 4]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1] + b"\x7f"])
def test_damaged_state_is_named(site, damage):
    keep(site, 1)
    file = site.state / "methods" / RUN / "round-0001.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(SiteStateError, match="TUH kept of round 1 cannot be read"):
        memory.read(site, RUN, 1)


def test_missing_state_is_named(site):
    keep(site, 1)
    with pytest.raises(SiteStateError, match="round 2"):
        memory.read(site, RUN, 2)


@pytest.mark.parametrize("run", ["", "../../../../etc", RUN + "/..", RUN.upper(), RUN[:-1], RUN + "\n"])
def test_a_run_whose_name_could_lead_elsewhere_is_refused(site, run):
    with pytest.raises(WireError, match="32 hexadecimal digits"):
        memory.read(site, run, 1)
    with pytest.raises(WireError, match="32 hexadecimal digits"):
        keep(site, 1, run=run)
    assert not (site.state / "methods").exists()


def test_there_is_no_round_before_the_first(site):
    with pytest.raises(WireError, match="no round -1"):
        keep(site, -1)
    assert not (site.state / "methods").exists()


def test_a_full_disk_leaves_what_was_kept(site, monkeypatch):
    keep(site, 1)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        keep(site, 2, {1})
    assert kept(site) == [1]
    memory.read(site, RUN, 1)


def test_runs_that_were_not_used_for_longest_go(site):
    runs = [f"{number:032x}" for number in range(memory.KEPT_RUNS + 3)]
    for number, run in enumerate(runs):
        keep(site, 1, run=run)
        os.utime(site.state / "methods" / run, (number, number))
    left = {folder.name for folder in (site.state / "methods").iterdir()}
    assert left == set(runs[3:])
