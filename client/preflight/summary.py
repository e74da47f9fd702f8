"""A check in lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from client.preflight.check import Preflight
from client.preflight.finding import Finding, Severity
from client.preflight.inventory import UNSTATED, Counts
from client.preflight.resources import Resources
from common.data.cache_folder import gigabytes

WIDTH, LABEL = 110, 11
MOST_VALUES = 6


def describe(result: Preflight) -> str:
    """Counts, findings and costs; no file names."""
    found = result.inventory
    left_out = found.listed_images - found.images
    lines = [
        _row("patients", f"{found.patients} with {found.exams} exam{'s' if found.exams != 1 else ''}"),
        _row("breasts", f"{found.breasts}: {_counts(found.breasts_by_label)}"),
        _row("images", f"{found.images} will be used" + (f", {left_out} will not" if left_out else "")),
        *(_row(name, _counts(counts)) for name, counts in found.images_by.items() if set(counts) != {UNSTATED}),
        *([_row("density", _counts(found.breasts_by_density))] if set(found.breasts_by_density) != {UNSTATED} else []),
        _row(
            "splits",
            "; ".join(
                f"{name} {part['patients']} patients, {part['breasts']} breasts ({part['malignant']} malignant)"
                for name, part in found.splits.items()
            ),
        ),
        *_costs(result.resources),
        "",
        *_findings(result.findings),
        _verdict(result),
        f"report     {result.report}",
    ]
    return "\n".join(lines)


def _verdict(result: Preflight) -> str:
    errors = result.count(Severity.ERROR)
    if not errors:
        return f"{result.site} is ready for training"
    return f"{result.site} is not ready: {errors} finding{'s stop' if errors > 1 else ' stops'} training"


def _costs(resources: Resources) -> Iterable[str]:
    yield _row(
        "disk", f"{gigabytes(resources.cache_bytes)} for prepared images, {gigabytes(resources.disk_free_bytes)} free"
    )
    if resources.peak_memory_bytes and resources.memory_free_bytes:
        text = f"{gigabytes(resources.peak_memory_bytes)} taken by a trial"
        yield _row("memory", f"{text}, {gigabytes(resources.memory_free_bytes)} free")
    if resources.seconds_per_round is not None:
        yield _row(
            "training",
            f"about {duration(resources.seconds_per_round)} a round of {resources.steps_per_round} steps "
            f"({resources.device})",
        )


def _findings(findings: Iterable[Finding]) -> Iterable[str]:
    for item in findings:
        yield f"{item.severity.value.upper():{LABEL}}{item.headline} ({item.code})"
        indent = " " * LABEL
        yield textwrap.fill(f"{item.meaning} {item.do}", WIDTH, initial_indent=indent, subsequent_indent=indent)
    yield ""


def duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s" if seconds >= 1 else "a second"


def _row(name: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{name:{LABEL}}", subsequent_indent=" " * LABEL)


def _counts(counts: Counts) -> str:
    shown = list(counts.items())[:MOST_VALUES]
    more = len(counts) - len(shown)
    return ", ".join(f"{number} {value}" for value, number in shown) + (f", {more} more kinds" if more else "")
