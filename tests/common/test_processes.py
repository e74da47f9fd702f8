"""Supervision with real processes: restarts with growing pauses, whole groups killed, nothing outlives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common import processes
from common.errors import FederationStateError
from common.locking import held, is_held
from common.processes import Child


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(pid):
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


SPAWNS = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


def test_stopping_a_child_ends_its_children_too(tmp_path):
    child = Child("c", [sys.executable, "-c", SPAWNS], tmp_path / "c.log")
    child.start()
    until(lambda: child.log.read_text().strip())
    grandchild = int(child.log.read_text())
    child.stop(5)
    until(lambda: gone(grandchild))
    assert not child.alive


def test_a_dead_child_is_started_again_after_pauses_that_grow(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(processes.time, "monotonic", lambda: now)
    child = Child("c", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "c.log")
    pauses = []
    for _ in range(9):
        assert child.keep_alive()
        child.process.wait()
        assert not child.keep_alive()
        pauses.append(child.due - now)
        now += pauses[-1]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert child.keep_alive()
    now += processes.STEADY_SECONDS + 1  # it lived long: as if it had never died
    child.process.wait()
    child.keep_alive()
    assert child.due - now == 1


SUPERVISOR = """
import sys, time
from pathlib import Path
from common.processes import Child
program = "from common.processes import die_with_parent; die_with_parent(); import time; time.sleep(600)"
child = Child("c", [sys.executable, "-c", program], Path(sys.argv[1]) / "c.log")
child.start()
print(child.process.pid, flush=True)
time.sleep(600)
"""


def test_a_child_does_not_outlive_a_killed_supervisor(tmp_path):
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE) as supervisor:
        child = int(supervisor.stdout.readline())
        assert not gone(child)
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
        until(lambda: gone(child))


HOLDER = """
import sys, time
from pathlib import Path
from common.locking import held
with held(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_is_held_by_one_process_and_released_by_its_death(tmp_path):
    lock = tmp_path / "x.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert is_held(lock)
        with pytest.raises(FederationStateError, match=f"process {other.pid}"), held(lock, "it"):
            pass
        other.kill()
        other.wait()
    assert not is_held(lock)
    with held(lock, "it"):
        assert lock.read_text() == str(os.getpid())
