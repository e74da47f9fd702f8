"""How good every explainer's maps are on one site of a finished simulation, next to controls that know nothing.

From the repository's root: ``python benchmarks/explanation_quality.py RUN SITE [VIEWS] [EXPLAINER ...]``, for instance
``runs/demo TUH 24 hirescam gradcam``. Measures: ``client/explanation/quality.py``. Prints a Markdown table: means over
malignant test views with known boxes, with 95 % intervals over patients.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import sobel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.explanation.background import choose_background
from client.explanation.controls import control_maps
from client.explanation.explainers import EXPLAINERS
from client.explanation.maps import Maps, only_tissue
from client.explanation.quality import Quality, measure_quality
from client.explanation.report import shown_views
from client.explanation.sanity import Explain
from client.site import Site, load_site
from common.metrics.bootstrap import bootstrap_mean
from common.models.classifier import BreastClassifier
from common.models.published import read_published
from common.offline import switch_off

DEFAULT = ("hirescam", "layercam", "gradcam", "gradcam++", "eigencam")
SAMPLES, CONFIDENCE = 1000, 0.95


def known(method: str, background: torch.Tensor) -> Explain:
    """An explainer of the product."""
    return lambda model, images: EXPLAINERS[method](model, images, background).maps


def control(name: str) -> Explain:
    """A control: the image itself, or noise."""
    return lambda model, images: control_maps(images, 0)[name]


def edges(model: BreastClassifier, images: torch.Tensor) -> Maps:
    """An edge detector: looks like an explanation and never asks the model."""
    pixels = images[:, 0].numpy()
    return only_tissue(np.hypot(sobel(pixels, 1), sobel(pixels, 2)).astype(np.float32), images)


def row(name: str, quality: Quality, patients: list[str]) -> str:
    """Of the table."""
    cells = []
    for field in fields(quality):
        values = getattr(quality, field.name)
        defined = np.isfinite(values)
        owners = [patient for patient, good in zip(patients, defined, strict=True) if good]
        found = bootstrap_mean(values[defined], owners, SAMPLES, CONFIDENCE, 0)
        cells.append(f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]")
    return f"| {name} | {' | '.join(cells)} |"


def main(run: Path, name: str, number: int, methods: tuple[str, ...]) -> None:
    """Measure and print."""
    switch_off()
    published = read_published(run / "model.safetensors")
    data = load_site(Site(name, run / "phantom" / name, run / "sites" / name), published.task)
    test = data.of_split("test")
    malignant = [index for index, breast in enumerate(test.breasts) if breast.target]
    views = [view for view in shown_views(test, malignant) if view.boxes][:number]
    images = np.stack([view.pixels for view in views])
    boxes, patients = [view.boxes or () for view in views], [test.breasts[view.breast].patient_id for view in views]
    background = choose_background(data.of_split("train"), published.task.evaluation.background, 0)
    explainers = {method: known(method, background) for method in methods}
    explainers |= {"intensity": control("intensity"), "random": control("random"), "edges": edges}
    print(f"{name}, {len(views)} views of {len(set(patients))} patients\n")
    print(f"| explainer | {' | '.join(field.name for field in fields(Quality))} |")
    print("|---" * (len(fields(Quality)) + 1) + "|")
    for method, explain in explainers.items():
        print(row(method, measure_quality(published.model, explain, images, boxes, 0), patients), flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        Path(arguments[0]),
        arguments[1],
        int(arguments[2]) if len(arguments) > 2 else 24,
        tuple(arguments[3:]) or DEFAULT,
    )
