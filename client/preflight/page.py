"""The local report of a check: pictures as the network sees them, histograms, and every file with a problem."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources as package_files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from client.pictures import outline_boxes, resized, windowed
from client.preflight.checks import spacing_of
from client.preflight.examination import Examination, ExaminedView, UsableView
from client.preflight.finding import Finding
from client.preflight.inventory import Inventory
from client.preflight.resources import Resources
from common.data.cache import CachedImage
from common.data.cache_folder import gigabytes
from common.imaging.harmonise import OUTSIDE
from common.page.drawing import COLOURS, draw
from common.page.style import style_sheet

HEIGHT = 220
"""Of a picture, pixels."""
PICTURES_A_FINDING = 8
PICTURES_OF_THE_SITE = 24
FILES_A_FINDING = 500
HISTOGRAM_IMAGES = 240
"""At most so many images, evenly over the manifest, are read for the histogram of values."""
GROUPS = 6


@dataclass(frozen=True)
class Shown:
    """A picture with its captions."""

    source: str
    title: str
    detail: str


def render(
    site: str, inventory: Inventory, findings: Sequence[Finding], costs: Resources, examined: Examination
) -> str:
    """The page; it holds pictures and file names, so it stays at the site."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["gigabytes"] = gigabytes
    template = (package_files.files("client.preflight") / "page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        site=site,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        css=Markup(style_sheet()),  # our own file, raw text inside a style element
        inventory=inventory,
        imaging=examined.task.imaging,
        findings=[(item, _pictures_of(item, examined)) for item in findings],
        most_files=FILES_A_FINDING,
        costs=costs,
        figures=[Markup(figure) for figure in _figures(examined)],  # SVG that we drew
        pictures=_sample(examined),
    )


def _pictures_of(item: Finding, examined: Examination) -> list[Shown]:
    chosen = [one for one in item.affected if one.view is not None][:PICTURES_A_FINDING]
    return [_shown(examined.views[one.view], one.detail) for one in chosen if one.view is not None]


def _sample(examined: Examination) -> list[Shown]:
    """Pictures evenly over labels and over the manifest."""
    groups: dict[str, list[ExaminedView]] = defaultdict(list)
    for item in examined.views:
        if isinstance(item.outcome, CachedImage):
            groups[item.breast.label].append(item)
    a_group = PICTURES_OF_THE_SITE // max(1, len(groups))
    return [
        _shown(members[index], f"line {members[index].view.line}")
        for _, members in sorted(groups.items())
        for index in np.unique(np.linspace(0, len(members) - 1, min(a_group, len(members))).round().astype(int))
    ]


def _shown(item: ExaminedView, detail: str) -> Shown:
    breast = item.breast
    title = f"{breast.patient_id} {breast.laterality} {item.view.view}, {breast.label}"
    return Shown(_picture(item), title, detail)


def _picture(item: ExaminedView) -> str:
    """A JPEG as a data URI; boxes outlined."""
    if not isinstance(item.outcome, CachedImage):
        raise TypeError("an image that cannot be used has no picture")
    pixels = np.asarray(item.outcome.pixels, dtype=np.float32)
    scale = HEIGHT / pixels.shape[0]
    grey = resized(windowed(pixels), (max(1, round(pixels.shape[1] * scale)), HEIGHT))
    panel = Image.fromarray((255.0 * grey + 0.5).astype(np.uint8)).convert("RGB")
    outline_boxes(panel, item.outcome.geometry.boxes_to_input(item.view.boxes or ()), scale)
    stream = io.BytesIO()
    panel.save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _figures(examined: Examination) -> list[str]:
    """Histograms: grey values by machine, breast's share of the picture, pixel spacing."""
    views = list(examined.usable)
    if not views:
        return []
    figures = [_values(views), _histogram("share", "breast's share of the picture, %", _shares(views))]
    spacings = [spacing[0] for item in views if (spacing := spacing_of(item))]
    if spacings:
        figures.append(_histogram("spacing", "pixel spacing, mm", spacings))
    return figures


def _shares(views: Sequence[UsableView]) -> list[float]:
    return [100.0 * item.image.facts.shown.breast_share for item in views]


def _values(views: Sequence[UsableView]) -> str:
    """Prepared grey values inside the breast, one curve a machine: curves should lie on each other."""
    groups: dict[str, list[UsableView]] = defaultdict(list)
    for index in np.unique(np.linspace(0, len(views) - 1, min(HISTOGRAM_IMAGES, len(views))).round().astype(int)):
        groups[_machine(views[index])].append(views[index])
    edges = np.linspace(-3.0, 4.0, 71)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, (name, members) in zip(COLOURS, sorted(groups.items())[:GROUPS], strict=False):
            counts = np.zeros(len(edges) - 1)
            for item in members:
                pixels = np.asarray(item.image.pixels, dtype=np.float32)
                counts += np.histogram(pixels[pixels > OUTSIDE], edges)[0]
            middle = (edges[1:] + edges[:-1]) / 2
            share = 100.0 * counts / max(1.0, counts.sum())
            axes.plot(middle, share, color=colour, label=f"{name} ({len(members)} images)")
        axes.set_xlabel("prepared grey value (0: tissue around)")
        axes.set_ylabel("% of the breast's pixels")
        axes.legend(fontsize=8.5)

    return draw("values", (5.4, 3.0), "Prepared grey values inside the breast by machine", paint)


def _machine(item: UsableView) -> str:
    said = item.image.facts.said
    return item.breast.device or " ".join(filter(None, (said.vendor, said.model))) or said.format


def _histogram(name: str, label: str, values: Sequence[float]) -> str:
    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist(values, bins=30, color=COLOURS[0])
        axes.set_xlabel(label)
        axes.set_ylabel("images")

    painter: Callable[[Figure], None] = paint
    return draw(name, (5.4, 3.0), f"Histogram of {label}", painter)
