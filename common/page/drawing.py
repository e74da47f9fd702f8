"""The look of the figures: one colour and marker per site, SVG that takes fonts and inks from the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito (2008), without black and yellow: black is the page's ink, yellow is unreadable on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))

# Stand-ins in the drawing, replaced in the SVG by colours of the style sheet (light and dark).
INK, MUTED, LINE, PAPER = "#101828", "#667085", "#d0d5dd", "#fefefe"
_PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class SiteStyle:
    """How a site looks in every figure and table."""

    colour: str
    marker: str
    dash: Any


def site_styles(sites: list[str]) -> dict[str, SiteStyle]:
    """A style for each site; colour, marker and dash differ in step, so no two of the first 42 look alike."""
    return {
        site: SiteStyle(
            COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], DASHES[place // len(COLOURS) % len(DASHES)]
        )
        for place, site in enumerate(sites)
    }


def draw(name: str, size: tuple[float, float], described: str, paint: Callable[[Figure], None]) -> str:
    """Paint a figure and return it as inline SVG: no metadata, no outside references, text as text.

    Args:
        name: unique within the page; prefixes every identifier, so that figures do not share any.
        size: width and height in inches at 100 pixels each.
        described: what it shows, for readers who cannot see it.
        paint: draws on the empty figure.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # A site may be named in a script that the measuring font lacks; the browser has its own fonts.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing")
        figure = Figure(figsize=size, dpi=100, layout="constrained")
        paint(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(stream.getvalue(), name, described, width=round(size[0] * 100))


def _for_page(svg: str, name: str, described: str, width: int) -> str:
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    body = re.sub(r"(font: (?:[\w.]+ )*?[\d.]+px) [^;\"]+", r"\1 var(--font)", body)
    for stand_in, colour in _PAGE_COLOURS.items():
        body = body.replace(stand_in, colour)
    label = escape(described, quote=True)
    return (
        f'<svg class="figure" role="img" aria-label="{label}" style="max-width:{width}px" '
        f"{view.group(0) if view else ''}>{body.strip()}"
    )


def no_frame(axes: Axes) -> None:
    """Leave the grid as the only frame."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
