"""The figures of a comparison, each from its findings to inline SVG."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from common.page.drawing import COLOURS, INK, LINE, MUTED, PAPER, draw, no_frame, site_styles
from server.report.numbers import defined, signed
from simulations.comparison.findings import MEASURES, WORDS, Comparison, Difference

TITLES = {
    "mean": "mean of the training sites",
    "worst": "worst training site",
    "unseen": "unseen sites",
    "left_out": "sites left out",
}
_HOLDS = COLOURS[0]
LONGEST = 36
"""Letters in a line of a way's name on an axis, where the name has colons or commas to be broken at."""
_LETTER, _LINE, _GAP = 0.085, 0.19, 0.17
"""Inches: width of a letter, height of a line, between rows."""


def differences(found: Comparison) -> str:
    """Paired differences from the reference with intervals, a panel a measure; filled where they hold after Holm."""
    measures = [measure for measure in MEASURES if any(one.measure == measure for one in found.differences)]
    ways = [way for way in found.ways if any(one.way == way for one in found.differences)]
    if not measures:
        return ""
    names, names_width, row_height = _names(ways)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(measures), sharex=True, sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            no_frame(axes)
            axes.grid(axis="y", visible=False)
            axes.axvline(0.0, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
            for one in found.differences:
                if one.measure == measure:
                    _interval(axes, one, ways.index(one.way))
            axes.set_title(textwrap.fill(TITLES[measure], 16), pad=10)
            axes.set_ylim(len(ways) - 0.4, -0.6)
            axes.margins(x=0.08)
            axes.xaxis.set_major_formatter(lambda value, _: signed(value, 2))
            axes.locator_params(axis="x", nbins=4)
        panels[0].set_yticks(range(len(ways)), names)
        panels[0].tick_params(axis="y", labelcolor=INK, labelsize=10.5)
        figure.supxlabel(
            f"{WORDS[found.figure]} less that of {found.reference}, same patients and seeds", fontsize=10, color=MUTED
        )
        legend = [
            Line2D([], [], color=_HOLDS, marker="o", linewidth=2.4, label="holds after Holm's correction"),
            Line2D([], [], color=MUTED, marker="o", linewidth=1.4, markerfacecolor=PAPER, label="does not"),
        ]
        figure.legend(handles=legend, loc="outside upper left", ncols=2, fontsize=9.5)

    height = 1.5 + row_height * len(ways)
    width = names_width + 2.1 * len(measures)
    return draw(
        "differences",
        (width, height),
        f"Differences of {WORDS[found.figure]} from {found.reference} with intervals",
        paint,
    )


def _interval(axes: Axes, one: Difference, y: float) -> None:
    value, low, high = one.estimate.value, one.estimate.low, one.estimate.high
    colour, width = (_HOLDS, 2.4) if one.marked else (MUTED, 1.4)
    if defined(low) and defined(high):
        axes.plot([low, high], [y, y], color=colour, linewidth=width, solid_capstyle="round")
    if defined(value):
        axes.plot(
            [value], [y], marker="o", markersize=6.5, color=colour, markerfacecolor=colour if one.marked else PAPER
        )


def sites(found: Comparison) -> str:
    """The figure of every way at every site, a row a way, a mark a site; joined from lowest to highest that trains."""
    shown = [name for name in found.sites if any(name in way.by_site for way in found.ways.values())]
    styles, ways = site_styles(shown), list(found.ways)
    names, _, row_height = _names(ways)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        no_frame(axes)
        axes.grid(axis="y", visible=False)
        for row, way in enumerate(ways):
            values = {site: value for site, one in found.ways[way].by_site.items() if defined(value := one.value)}
            trained = [value for site, value in values.items() if found.sites[site].role == "train"]
            if trained:
                axes.plot([min(trained), max(trained)], [row, row], color=LINE, linewidth=5, solid_capstyle="round")
            for site, value in values.items():
                style, seen = styles[site], found.sites[site].role == "train"
                axes.plot(
                    [value], [row], marker=style.marker, color=style.colour, markersize=8, markeredgewidth=1.4,
                    markeredgecolor=PAPER if seen else style.colour, markerfacecolor=style.colour if seen else PAPER,
                    linestyle="none",
                )  # fmt: skip
        axes.set_yticks(range(len(ways)), names)
        axes.tick_params(axis="y", labelcolor=INK, labelsize=10.5)
        axes.set_ylim(len(ways) - 0.4, -0.6)
        axes.margins(x=0.05)
        axes.set_xlabel(f"{WORDS[found.figure]} on the site's test patients, mean over seeds")
        legend = [
            Line2D(
                [], [], marker=styles[site].marker, color=styles[site].colour, linestyle="none", markersize=8,
                markerfacecolor=styles[site].colour if found.sites[site].role == "train" else PAPER,
                label=site if found.sites[site].role == "train" else f"{site}, unseen",
            )
            for site in shown
        ]  # fmt: skip
        figure.legend(handles=legend, loc="outside upper left", ncols=6, fontsize=9.5, handletextpad=0.3)

    height = 1.4 + row_height * len(ways)
    return draw("sites", (9.2, height), f"{WORDS[found.figure]} of every way of training at every site", paint)


def _names(ways: Sequence[str]) -> tuple[list[str], float, float]:
    """Names of ways as an axis shows them, the width that they take and the height of a row, in inches."""
    names = [broken(way) for way in ways]
    lines = [name.split("\n") for name in names]
    width = _LETTER * max(len(line) for name in lines for line in name)
    return names, width, _GAP + _LINE * max(map(len, lines))


def broken(way: str) -> str:
    """A way's name over as few lines as it takes, broken after colons and commas alone."""
    lines = [""]
    for part in re.findall(r".+?(?::|, |$)", way):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > LONGEST:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
