"""Writes ``compare.html``: one self-contained page, without scripts and without a single outside request."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from common.atomic import write_text
from common.page.style import style_sheet
from common.protocol import Estimate
from server.report import numbers
from server.report.numbers import defined, interval, signed
from simulations.comparison import drawings
from simulations.comparison.findings import WORDS, Comparison, Difference, Way

PAGE = "compare.html"


def write_page(out: Path, found: Comparison) -> Path:
    """Write the page into the comparison's folder and return its path.

    Raises:
        StorageError: it cannot be written.
    """
    path = out / PAGE
    write_text(path, render(found))
    return path


def render(found: Comparison) -> str:
    """The page of a comparison; the same figures give the same text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name in ("number", "signed", "count", "share", "bytes_text", "duration"):
        environment.filters[name] = getattr(numbers, name)
    environment.filters["interval"] = interval
    environment.filters["signed_interval"] = signed_interval
    text = (resources.files("simulations.comparison") / "page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        found=found,
        # A style element is raw text: nothing in it is escaped, and our own file is all it holds.
        css=Markup(style_sheet()),
        headline=headline(found),
        figure=WORDS[found.figure],
        differences=Markup(drawings.differences(found)),
        sites=Markup(drawings.sites(found)),
        measures=[key for key in ("mean", "worst", "unseen", "left_out", "spread") if _has(found, key)],
        best={key: best(found, key) for key in ("mean", "worst", "unseen", "left_out", "spread")},
        titles=drawings.TITLES | {"spread": "spread"},
        methods={name: way for name, way in found.ways.items() if way.runs},
        mean_of=mean_of,
    )


def signed_interval(estimate: Estimate) -> str:
    """``−0.012 to +0.034``; empty when there is no interval."""
    if not (defined(estimate.low) and defined(estimate.high)):
        return ""
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def _has(found: Comparison, measure: str) -> bool:
    return any(getattr(way, measure).value is not None for way in found.ways.values())


def best(found: Comparison, measure: str) -> str:
    """The federated method whose figure is best; the spread's is the smallest. Empty where there is none."""
    values = {
        name: value
        for name, way in found.ways.items()
        if way.kind == "method" and (value := getattr(way, measure).value) is not None
    }
    choose = min if measure == "spread" else max
    return choose(values, key=lambda name: values[name]) if values else ""


def headline(found: Comparison) -> str:
    """One sentence on what holds after Holm's correction among the methods, or of the baselines beside a single one."""
    methods = {name for name, way in found.ways.items() if way.kind != "baseline"} - {found.reference}
    kept = [one for one in found.differences if one.marked and (one.way in methods or not methods)]
    seeds = f"Over {len(found.seeds)} seeds"
    if not kept:
        others = "no method" if methods else "nothing"
        return f"{seeds}, {others} differs from {found.reference} by more than chance explains."
    told = [f"{one.way} {_what(one)}" for one in sorted(kept, key=lambda one: -(one.estimate.value or 0.0))]
    return f"{seeds}, compared with {found.reference}: {'; '.join(told)}."


def _what(one: Difference) -> str:
    return f"{signed(one.estimate.value)} ({drawings.TITLES[one.measure]})"


def mean_of(way: Way, key: str) -> float | None:
    """Mean over the seeds of a cost; of ``round`` and ``bytes_to`` only where every seed got to the target."""
    if key in ("round", "bytes_to"):
        there = [run.reached for run in way.runs if run.reached is not None]
        if len(there) < len(way.runs):
            return None
        values = [float(one.round if key == "round" else one.bytes) for one in there]
    else:
        values = [float(getattr(run, key)) for run in way.runs]
    return sum(values) / len(values)
