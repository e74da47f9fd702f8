"""Numbers are written one way throughout."""

from __future__ import annotations

import math

import pytest

from common.page.drawing import site_styles
from common.protocol import Estimate
from server.report.numbers import bytes_text, count, duration, interval, number, share, signed


def test_undefined_numbers_are_a_dash() -> None:
    assert number(None) == number(math.nan) == signed(math.inf) == count(None) == duration(None) == "\u2013"
    assert interval(Estimate(0.5)) == interval(Estimate(0.5, math.nan, 1.0)) == ""


@pytest.mark.parametrize(
    ("value", "written"), [(0.0123, "+0.012"), (-0.0123, "\u22120.012"), (0.0, "0.000"), (-0.0004, "0.000")]
)
def test_differences_carry_their_sign(value: float, written: str) -> None:
    assert signed(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"), [(3.14, "3.1 s"), (59.96, "1 min 00 s"), (245, "4 min 05 s"), (7799, "2 h 10 min")]
)
def test_durations_read_well(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_bytes_counts_and_shares() -> None:
    assert (bytes_text(999), bytes_text(12_345_678), bytes_text(3e15)) == ("999 B", "12.3 MB", "3000.0 TB")
    assert (count(1234567), share(0.9), share(0.975)) == ("1\u202f234\u202f567", "90\u00a0%", "97.5\u00a0%")


def test_no_two_of_the_first_forty_sites_look_alike() -> None:
    styles = site_styles([f"site {place}" for place in range(40)]).values()
    assert len({(style.colour, style.marker, str(style.dash)) for style in styles}) == 40
