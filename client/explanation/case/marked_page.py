"""The case report of a detector: the page of :mod:`client.explanation.case.page` with marks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from client.explanation.case.case import Case, CaseBreast, CaseMark, CaseView
from client.explanation.case.marked import MAPPED
from client.explanation.case.marks import MarksAlike, SiteMarks, WorkingPoint
from client.explanation.case.page import Layer, ShownView, overlay, render_page, shown
from client.explanation.case.reliability import wilson
from common.models.published import PublishedDetector
from common.page.drawing import COLOURS, draw

LOWEST = 0.05
"""Marks of a lower score, of which there may be thousands, are left out of the figure."""


@dataclass(frozen=True)
class ShownMark:
    """A mark for the page."""

    number: int
    mark: CaseMark
    alike: MarksAlike | None
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class MarkedView(ShownView):
    """A view for the page, and what is marked on it."""

    name: str
    """Unique on the page."""
    marks: tuple[ShownMark, ...]
    weaker: tuple[CaseMark, ...]
    missed: int | None


def render(
    case: Case,
    site: str,
    published: PublishedDetector,
    others: SiteMarks,
    point: WorkingPoint,
    methods: tuple[str, ...],
) -> str:
    """The page of a case; it shows a patient's images, so it stays at the site.

    Args:
        case: what is shown.
        site: its name.
        published: for the model's card.
        others: marks of other patients at this site.
        point: from which score on marks are shown.
        methods: names of the maps, the first is shown first.
    """
    return render_page(
        "marked_page.html.j2",
        page_css=("page.css", "marked_page.css"),
        page_js=("page.js", "marked_page.js"),
        case=case,
        site=site,
        methods=methods,
        breasts=[
            (item, [_marked(f"{place}-{at}", view, others) for at, view in enumerate(item.views)],
             _strip(place, item, others, point), None)
            for place, item in enumerate(case.breasts)
        ],
        published=published,
        point=point,
        threshold=None if math.isinf(point.threshold) else point.threshold,
        found=wilson(point.found, point.lesions) if point.lesions else None,
        mapped=MAPPED,
    )  # fmt: skip


def _marked(name: str, view: CaseView, others: SiteMarks) -> MarkedView:
    marks = tuple(
        ShownMark(number, mark, others.alike(mark.score), _layers(mark)) for number, mark in enumerate(view.marks, 1)
    )
    bare = shown(replace(view, maps={}), {})  # each mark has maps of its own
    return MarkedView(**vars(bare), name=name, marks=marks, weaker=view.weaker, missed=view.missed)


def _layers(mark: CaseMark) -> tuple[Layer, ...]:
    return tuple(
        Layer(method, overlay(found, float(found.max())), bool(found.max() <= 0.0))
        for method, found in mark.maps.items()
    )


def _strip(place: int, item: CaseBreast, others: SiteMarks, point: WorkingPoint) -> Markup | None:
    """Scores of other patients' marks, those on lesions above the others, and this breast's; None without lesions."""
    if not others.known:
        return None
    enough, hit = others.marks.scores >= LOWEST, others.marks.lesion > 0

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, (name, which) in enumerate((("on no lesion", ~hit), ("on a lesion", hit))):
            scores = others.marks.scores[enough & which]
            axes.plot(scores, np.full(len(scores), row), "|", color=COLOURS[row], markersize=16, alpha=0.6)
            axes.text(1.02, row, f"{name} ({len(scores)})", va="center", color=COLOURS[row])
        for mark in (mark for view in item.views for mark in view.marks):
            axes.axvline(mark.score, color=COLOURS[2], linewidth=2.2)
        if math.isfinite(point.threshold):
            axes.axvspan(0, point.threshold, color="grey", alpha=0.12, linewidth=0)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.6, 1.6)
        axes.set_yticks([])
        axes.set_xlabel("score of a mark; the lines are this breast's, and in the grey part marks are hidden")

    return Markup(draw(f"strip{place}", (7.6, 1.7), "Scores of this site's marks and of this breast's", paint))
