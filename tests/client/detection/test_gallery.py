"""The gallery: what is shown, under which heading, in which colours."""

import io
import json
from dataclasses import replace

import numpy as np
from PIL import Image

from client.detection.gallery import FALSE_COLOUR, HIT_COLOUR, draw_gallery
from client.pictures import BOX_COLOUR
from client.site import Site
from common.configuration import EvaluationConfig


def gallery(data, reading, folder, number=8):
    site = Site("TUH", folder / "data", folder / "state")
    draw_gallery(data, reading, EvaluationConfig(gallery=number), site)
    return site.reports / "gallery", json.loads((site.reports / "gallery" / "gallery.json").read_text())


def test_hits_misses_and_false_alarms_are_told_apart(squares, perfect, tmp_path):
    blind = [
        replace(view, boxes=view.boxes[1:], scores=view.scores[1:]) if view.breast == 8 else view
        for view in perfect.views
    ]
    folder, entries = gallery(squares, replace(perfect, views=blind), tmp_path)
    assert [entry["outcome"] for entry in entries] == ["hit"] * 4 + ["missed"] * 2 + ["false alarm"] * 2
    assert [entry["boxes"] for entry in entries] == [1] * 6 + [0] * 2
    assert [entry["score"] for entry in entries] == [0.9] * 4 + [0.1] * 4
    assert all((folder / entry["file"]).exists() for entry in entries)


def test_boxes_are_drawn_where_they_are(squares, perfect, tmp_path):
    folder, entries = gallery(squares, perfect, tmp_path)
    picture = np.asarray(Image.open(io.BytesIO((folder / entries[0]["file"]).read_bytes())).convert("RGB"))
    left, right = picture[:, :315], picture[:, 321:]  # 48 of 64 of 420, and a gap of 6
    shown = perfect.views[0]
    for panel, colour in ((left, BOX_COLOUR), (right, HIT_COLOUR)):
        rows, columns = np.nonzero((panel == colour).all(axis=2))
        x0, y0, x1, y1 = shown.boxes[0] * 420 / 64
        assert abs(columns.min() - x0) <= 4 and abs(columns.max() - x1) <= 4
        assert abs(rows.min() - y0) <= 4 and abs(rows.max() - y1) <= 4
    assert (right == FALSE_COLOUR).all(axis=2).any() and not (left == FALSE_COLOUR).all(axis=2).any()


def test_without_detections_or_known_views_there_is_an_empty_gallery(squares, perfect, tmp_path):
    nothing = replace(perfect, views=[replace(view, lesions=None) for view in perfect.views])
    assert gallery(squares, nothing, tmp_path)[1] == []
    assert gallery(squares, perfect, tmp_path, number=0)[1] == []
