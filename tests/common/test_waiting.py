"""Pauses that are short where a round hangs on them."""

import threading
from types import SimpleNamespace

import pytest
from flwr.supercore.inflatable.inflatable_utils import ObjectUnavailableError, pull_objects

from common import waiting
from common.waiting import Pace, look_often


def test_pauses_are_a_tenth_of_the_time_waited_within_bounds():
    pace = Pace(0.5, 3.0)
    pauses = [pace.pause() for _ in range(60)]
    assert pauses[:11] == [0.5] * 11  # up to 5 s
    assert pauses[11] == pytest.approx(0.55)
    assert pauses[12] == pytest.approx(0.605)
    assert pauses[-1] == 3.0
    assert pace.waited == pytest.approx(sum(pauses))
    pace.restart()
    assert pace.pause() == 0.5


def test_flower_looks_for_missing_parts_after_our_pauses(monkeypatch):
    """Its own loop, with a clock that only notes how long it would have waited."""
    monkeypatch.setattr(pull_objects, "__kwdefaults__", dict(pull_objects.__kwdefaults__))
    pauses, tries = [], []

    class Event:
        def __init__(self):
            self._set = False

        def wait(self, seconds):
            pauses.append(seconds)

        def is_set(self):
            return self._set

        def set(self):
            self._set = True

    def pull(identifier):
        tries.append(identifier)
        if len(tries) < 9:
            raise ObjectUnavailableError(identifier)
        return b"content"

    look_often()
    place = "flwr.supercore.inflatable.inflatable_utils"
    monkeypatch.setattr(f"{place}.threading", SimpleNamespace(Event=Event, Lock=threading.Lock))
    monkeypatch.setattr(f"{place}.random", SimpleNamespace(uniform=lambda low, high: 0.0))
    assert pull_objects(["a"], pull) == {"a": b"content"}
    first, longest = waiting.FIRST_PAUSE, waiting.LONGEST_PAUSE
    assert pauses[:3] == [first, 2 * first, 4 * first]
    assert pauses[3:] == [longest] * 5
