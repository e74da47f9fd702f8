"""The case report: one page that holds all it shows and asks nothing of the outside."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from datetime import datetime
from importlib import resources as package_files

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from client.explanation.case.case import Case, CaseBreast, CaseView
from client.explanation.case.reliability import Reliability
from common.models.published import PublishedModel
from common.page.drawing import COLOURS, draw
from common.page.style import style_sheet

Grey = npt.NDArray[np.float32]
COLOUR_MAP = "inferno"
"""Dark where nothing is: perceptually even, and readable without colour vision."""


@dataclass(frozen=True)
class Layer:
    """A method's map over a view, as a picture with transparency."""

    method: str
    source: str
    empty: bool
    """Nothing in this view speaks for malignancy."""


@dataclass(frozen=True)
class ShownView:
    """A view for the page."""

    view: str
    columns: int
    rows: int
    grey: str
    layers: tuple[Layer, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    boxes_known: bool


def render(case: Case, site: str, published: PublishedModel, reliability: Reliability, methods: tuple[str, ...]) -> str:
    """The page of a case; it shows a patient's images, so it stays at the site.

    Args:
        case: what is shown.
        site: its name.
        published: for the model's card.
        reliability: how the model's scores came out at this site.
        methods: names of the maps, the first is shown first.
    """
    return render_page(
        "page.html.j2",
        page_css=("page.css",),
        page_js=("page.js",),
        case=case,
        site=site,
        methods=methods,
        breasts=[
            (item, [shown(view, _scales(item)) for view in item.views], _strip(place, item, reliability), reliability)
            for place, item in enumerate(case.breasts)
        ],
        published=published,
    )


def render_page(template: str, page_css: tuple[str, ...], page_js: tuple[str, ...], **shown: object) -> str:
    """A template of this package with its style sheets and scripts inside, and what it shows."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_own)
    )
    environment.filters |= {"per_cent": per_cent, "points": points, "signed": signed}
    return environment.get_template(template).render(
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        css=Markup(style_sheet() + "".join(map(_own, page_css))),  # our own files, raw text
        script=Markup("".join(map(_own, page_js))),
        **shown,
    )


def _own(name: str) -> str:
    """A file of this package."""
    return (package_files.files("client.explanation.case") / name).read_text(encoding="utf-8")


def per_cent(value: float) -> str:
    """A probability for readers: whole per cent, and never 0 or 100."""
    if value < 0.01:
        return "below 1 %"
    return "above 99 %" if value > 0.99 else f"{100 * value:.0f} %"


def points(change: float) -> str:
    """A change of a probability in whole percentage points, ``none`` below half of one."""
    return f"{100 * change:+.0f} points".replace("-", "\u2212") if abs(change) >= 0.005 else "none"


def signed(change: float) -> str:
    """A change of a score, ``none`` below half a hundredth."""
    return f"{change:+.2f}".replace("-", "\u2212") if abs(change) >= 0.005 else "none"


def _scales(item: CaseBreast) -> dict[str, float]:
    """Each method's largest value over the views of a breast: one colour means the same in all of them."""
    return {method: max(float(view.maps[method].max()) for view in item.views) for method in item.views[0].maps}


def shown(view: CaseView, scales: dict[str, float]) -> ShownView:
    """A view for the page; ``scales`` are the largest values of the maps by method."""
    layers = tuple(
        Layer(method, overlay(found, scales[method]), bool(found.max() <= 0.0)) for method, found in view.maps.items()
    )
    rows, columns = view.grey.shape
    return ShownView(view.view, columns, rows, _grey(view.grey), layers, view.boxes or (), view.boxes is not None)


def _grey(values: Grey) -> str:
    return _data(Image.fromarray((255.0 * values + 0.5).astype(np.uint8)), "JPEG", quality=88)


def heat(found: Grey, scale: float) -> npt.NDArray[np.uint8]:
    """RGBA ``(H, W, 4)``: the warmer the more opaque, nothing where the map is 0."""
    share = np.clip(found / scale, 0.0, 1.0) if scale > 0.0 else np.zeros_like(found)
    colours = (255.0 * colormaps[COLOUR_MAP](share) + 0.5).astype(np.uint8)
    colours[..., 3] = (255.0 * np.sqrt(share) + 0.5).astype(np.uint8)
    return np.asarray(colours)


def overlay(found: Grey, scale: float) -> str:
    """A map as a picture with transparency, for the page."""
    return _data(Image.fromarray(heat(found, scale), "RGBA"), "PNG", optimize=True)


def _data(picture: Image.Image, kind: str, **options: int | bool) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _strip(place: int, item: CaseBreast, reliability: Reliability) -> Markup:
    """Scores of other patients' test breasts, malignant above the others, and where this breast lies."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, (name, scores) in enumerate((("others", reliability.others), ("malignant", reliability.malignant))):
            axes.plot(scores, np.full(len(scores), row), "|", color=COLOURS[row], markersize=16, alpha=0.6)
            axes.text(1.02, row, f"{name} ({len(scores)})", va="center", color=COLOURS[row])
        axes.axvline(item.score, color=COLOURS[2], linewidth=2.2)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.6, 1.6)
        axes.set_yticks([])
        axes.set_xlabel("probability of malignancy that the model gave; the line is this breast")

    return Markup(draw(f"strip{place}", (7.6, 1.7), "Scores of this site's test breasts and of this breast", paint))
