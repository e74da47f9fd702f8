"""The site's own pictures of a detector: hits, misses and false alarms, with the doctors' boxes and its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from client.detection.reading import SiteReading, ViewReading, read_images
from client.pictures import BOX_COLOUR, outline_boxes, resized, windowed
from client.site import Site
from common.atomic import write_bytes, write_text
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.imaging.box import Box
from common.metrics.froc import mark, threshold_at
from common.metrics.hits import Bools, hits, true_positives

HEIGHT, GAP, GAP_COLOUR = 420, 6, (72, 72, 78)
FALSE_ALARMS_ALLOWED = 1.0
"""False positives an image at which detections are drawn."""
HIT_COLOUR, FALSE_COLOUR = (0, 158, 115), (230, 159, 0)
"""Bluish green and orange of Okabe & Ito 2008."""


@dataclass(frozen=True)
class Judged:
    """A view with those of its detections that pass the threshold: which are true, and how many lesions are found."""

    view: ViewReading
    passing: Bools
    true: Bools

    @property
    def missed(self) -> int:
        """Lesions not found."""
        return len(self.view.sought) - int(self.true.sum())

    @property
    def false(self) -> Bools:
        """Passing detections that hit nothing, or what is used."""
        return self.passing & ~self.true


def draw_gallery(data: SiteData, reading: SiteReading, config: EvaluationConfig, site: Site) -> None:
    """Write up to ``config.gallery`` views to ``reports/gallery`` of the site: half of them with a lesion that was
    found, surest first, a quarter with one that was missed, then the worst false alarms on views without a lesion.

    Detections are drawn from the score on that lets one false positive an image through.
    """
    threshold = threshold_at(
        mark(read_images(data, reading.views), config.hit_rule, config.hit_overlap), FALSE_ALARMS_ALLOWED
    )
    judged = [_judge(view, threshold, config) for view in reading.known()]
    entries, folder = [], site.reports / "gallery"
    for number, (outcome, item) in enumerate(_chosen(judged, config.gallery), 1):
        view, breast = item.view, data.breasts[item.view.breast]
        name = f"{number:02d}-{breast.views[view.view].view}.png"
        pixels = np.asarray(data.views[view.breast][view.view].pixels, dtype=np.float32)
        write_bytes(folder / name, draw_detections(pixels, item))
        entries.append(
            {
                "file": name,
                "label": breast.label,
                "score": float(view.scores[item.passing].max()) if item.passing.any() else None,
                "outcome": outcome,
                "view": breast.views[view.view].view,
                "boxes": len(view.sought),
            }
        )
    write_text(folder / "gallery.json", json.dumps(entries, indent=1))


def _judge(view: ViewReading, threshold: float, config: EvaluationConfig) -> Judged:
    found = hits(view.boxes, view.sought, config.hit_rule, config.hit_overlap)
    passing = view.scores >= threshold
    return Judged(view, passing, true_positives(view.scores, found) & passing)


def _chosen(judged: list[Judged], number: int) -> list[tuple[str, Judged]]:
    def surest(items: list[Judged], which: str) -> list[Judged]:
        return sorted(items, key=lambda item: -item.view.scores[getattr(item, which)].max(initial=0.0))

    found = surest([item for item in judged if item.true.any()], "true")
    missed = [item for item in judged if item.missed and not item.true.any()]
    alarms = surest([item for item in judged if item.false.any() and not len(item.view.sought)], "false")
    listed = [("hit", item) for item in found[: max(1, number // 2)]]
    listed += [("missed", item) for item in missed[: number // 4]]
    listed += [("false alarm", item) for item in alarms]
    return listed[:number]


def draw_detections(image: np.ndarray[tuple[int, ...], np.dtype[np.float32]], item: Judged) -> bytes:
    """Draw a view with the doctors' boxes, beside itself with the detections, true ones green, false ones orange.

    Args:
        image: ``(H, W)``, prepared.
        item: what of it is drawn, in its pixels.

    Returns:
        A PNG, 420 pixels high.
    """
    scale = HEIGHT / image.shape[0]
    size = (max(1, round(image.shape[1] * scale)), HEIGHT)
    grey = np.repeat(resized(windowed(image), size)[:, :, None], 3, axis=2)
    panels = [Image.fromarray((255.0 * grey + 0.5).astype(np.uint8)) for _ in range(2)]
    outline_boxes(panels[0], item.view.lesions.boxes if item.view.lesions else (), scale, BOX_COLOUR)
    for which, colour in ((item.false, FALSE_COLOUR), (item.true, HIT_COLOUR)):
        outline_boxes(
            panels[1], [Box(x0, y0, x1, y1) for x0, y0, x1, y1 in item.view.boxes[which].tolist()], scale, colour
        )
    picture = Image.new("RGB", (2 * size[0] + GAP, HEIGHT), GAP_COLOUR)
    picture.paste(panels[0], (0, 0))
    picture.paste(panels[1], (size[0] + GAP, 0))
    file = BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
