"""``shift.json`` and the self-contained ``shift.html``: matrices of distances, curves of grey values, what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from common.atomic import write_text
from common.comparison import LEVELS
from common.configuration import TaskConfig
from common.page.drawing import INK, draw, no_frame, site_styles
from common.page.style import style_sheet
from common.protocol import ShiftReport
from server.shift.distances import Distance, distances
from server.shift.verdict import (
    FEATURES,
    INTENSITY,
    MIX,
    PREVALENCE,
    RESPONSE,
    RULES,
    SCALE,
    Finding,
    Recommendation,
    findings,
    recommend,
)

HEAT = LinearSegmentedColormap.from_list("heat", ["#eef3f8", "#f6d9a8", "#e07b39", "#9c2a1f"])
FULL = 4.0
"""Thresholds at which a field has the darkest colour."""
MOST_WRITTEN = 12
"""With more sites figures do not fit into the fields."""


@dataclass(frozen=True)
class Shift:
    """How the sites of a survey are apart, and what follows."""

    task: TaskConfig
    told: dict[str, ShiftReport]
    pairs: list[Distance]
    found: list[Finding]
    advice: Recommendation
    left_out: dict[str, str] = field(default_factory=dict)
    """Sites that were asked and are not compared: why."""


@dataclass(frozen=True)
class _Matrix:
    """One picture: what it is called, its threshold, and the distance of a pair."""

    title: str
    threshold: float
    value: Callable[[Distance], float | None]


MATRICES = (
    _Matrix("Grey values as stored, share of full scale", INTENSITY, lambda pair: pair.intensity),
    _Matrix("Grey value curves, spreads of the tissue", RESPONSE, lambda pair: pair.response),
    _Matrix("What the network sees, its units", RESPONSE, lambda pair: pair.prepared),
    _Matrix("Input pixel spacing, log-ratio", SCALE, lambda pair: pair.scale),
    _Matrix(
        "Malignant breasts, difference of shares",
        PREVALENCE,
        lambda pair: None if pair.prevalence is None else abs(pair.prevalence.value),
    ),
    _Matrix("Projections, share to change", MIX, lambda pair: pair.views),
    _Matrix("Densities, share to change", MIX, lambda pair: pair.densities),
    _Matrix("Features of the model, spreads", FEATURES, lambda pair: pair.features),
)


def assess(task: TaskConfig, told: Mapping[str, ShiftReport], left_out: Mapping[str, str] | None = None) -> Shift:
    """Distances, kinds and recommendation of what sites told; ``left_out``: why others did not."""
    pairs = distances(told)
    found = findings(pairs)
    advice = recommend(found, pairs, told, task.imaging.harmonisation)
    return Shift(task, dict(told), pairs, found, advice, dict(left_out or {}))


def write_shift(shift: Shift, folder: Path) -> Path:
    """Write ``shift.json`` and ``shift.html``; returns the path of the page.

    Raises:
        StorageError: the folder cannot be written.
    """
    data = {
        "levels": LEVELS,
        "harmonisation": shift.task.imaging.harmonisation,
        "sites": {site: asdict(report) for site, report in shift.told.items()},
        "left_out": shift.left_out,
        "distances": [asdict(pair) for pair in shift.pairs],
        "findings": [asdict(item) for item in shift.found],
        "recommendation": asdict(shift.advice),
    }
    write_text(folder / "shift.json", json.dumps(data, indent=1))
    page = folder / "shift.html"
    write_text(page, render(shift))
    return page


def render(shift: Shift) -> str:
    """The page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = (resources.files("server.shift") / "page.html.j2").read_text(encoding="utf-8")
    styles = site_styles(list(shift.told))
    return environment.from_string(template).render(
        css=Markup(style_sheet()),  # our own file
        shift=shift,
        advice=shift.advice,
        imaging=shift.task.imaging,
        styles=styles,
        rules=RULES,
        command=command(shift),
        heat=Markup(_heat(shift)),  # SVG that we drew
        curves=Markup(_curves(shift)),
        lead=_lead(shift),
    )


def command(shift: Shift) -> str:
    """The settings that are recommended, as arguments."""
    advice = shift.advice
    return " ".join([f"method={advice.method}", f"imaging.harmonisation={advice.harmonisation}", *advice.settings])


def _lead(shift: Shift) -> str:
    first = shift.found[0]
    if first.strength < 1 or first.between is None:
        return f"The {len(shift.told)} sites are alike in everything that was compared."
    one, other = first.between
    return f"The strongest shift is one of {first.kind}, between {one} and {other}: {first.reason}."


def _heat(shift: Shift) -> str:
    sites = list(shift.told)
    shown = [item for item in MATRICES if any(item.value(pair) is not None for pair in shift.pairs)]
    rows = -(-len(shown) // 3)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, 3, squeeze=False)
        for axes in grid.ravel()[len(shown) :]:
            axes.set_visible(False)
        for axes, item in zip(grid.ravel(), shown, strict=False):
            values = np.full((len(sites), len(sites)), np.nan)
            for pair in shift.pairs:
                value = item.value(pair)
                if value is not None:
                    place = sites.index(pair.first), sites.index(pair.second)
                    values[place] = values[place[::-1]] = value
            axes.pcolormesh(
                np.ma.masked_invalid(values / item.threshold), cmap=HEAT, vmin=0, vmax=FULL, edgecolor="white", lw=1.5
            )
            if len(sites) <= MOST_WRITTEN:
                for row, column in np.argwhere(np.isfinite(values)):
                    value = values[row, column]
                    colour = "#ffffff" if value / item.threshold > 0.6 * FULL else "#1b2430"
                    axes.text(
                        column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9
                    )
            axes.set_xticks(np.arange(len(sites)) + 0.5, sites, rotation=40 if len(sites) > 3 else 0)
            axes.set_yticks(np.arange(len(sites)) + 0.5, sites)
            axes.invert_yaxis()
            axes.set_aspect("equal")
            axes.grid(visible=False)
            axes.set_title(item.title, fontsize=8.5, color=INK)
            no_frame(axes)

    return draw("heat", (10.6, 3.4 * rows), "Matrices of the sites' distances, one a quantity", paint)


def _curves(shift: Shift) -> str:
    styles = site_styles(list(shift.told))
    parts: Sequence[tuple[str, Callable[[ShiftReport], list[float]]]] = (
        ("as stored (1: full scale)", lambda report: report.stored),
        ("standardised (spreads of the tissue)", lambda report: report.standardised),
        (f"as the network sees it ({shift.task.imaging.harmonisation})", lambda report: report.prepared),
    )
    shown = [part for part in parts if any(part[1](report) for report in shift.told.values())]

    def paint(figure: Figure) -> None:
        for place, (axes, (title, values)) in enumerate(
            zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True)
        ):
            for site, report in shift.told.items():
                if values(report):
                    style = styles[site]
                    axes.plot(
                        100 * np.array(LEVELS), values(report), label=site, color=style.colour, ls=style.dash,
                        marker=style.marker, ms=4,
                    )  # fmt: skip
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("% of the tissue that is darker")
            if place == 0:
                axes.set_ylabel("grey value")
                axes.legend(fontsize=8.5)

    return draw("curves", (10.6, 3.6), "Quantiles of grey values inside the breast, one curve a site", paint)
