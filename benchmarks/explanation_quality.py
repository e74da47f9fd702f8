"""How good every explainer's maps are on sites of finished simulations, next to controls that know nothing.

From the repository's root, for instance::

    python benchmarks/explanation_quality.py runs/demo --site TUH --site MCS --views 12
    python benchmarks/explanation_quality.py runs/real-folds/fold-* --data hospitals --site MIAS --explainer hirescam

Of several runs (the folds of a cross-validation) each explains its own test patients by its own model. Prints a
Markdown table: means over malignant test views with known boxes, with 95 % intervals over patients; how like the map is
to that of a network that has forgotten everything; and whether the method beats both controls. ``--full`` adds the
measures of ``client/explanation/quality.py``, which take a hundred more passes a view.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import sobel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.explanation import cam
from client.explanation.background import choose_background
from client.explanation.controls import control_maps
from client.explanation.detected import DetectedScore, Explained
from client.explanation.explainers import EXPLAINERS
from client.explanation.maps import Explanation, Maps, explained_copy, only_tissue
from client.explanation.quality import MapQuality, measure_quality
from client.explanation.report import shown_views
from client.explanation.sanity import Explain, untaught
from client.explanation.scoring import SENT, Measured, score_methods, values_of
from client.site import Site, load_site
from common.configuration import EvaluationConfig, task_from_yaml
from common.imaging.box import Box
from common.models.classifier import BreastClassifier
from common.models.network import build_network
from common.offline import switch_off
from common.packing import from_bytes
from common.protocol import CONTROLS, Estimate, ExplanationScore

DEFAULT = ("hirescam", "layercam", "gradcam", "gradcam++", "eigencam")
QUALITIES = ("rank_accuracy", *SENT)
CHANGED = 0.5
"""A method asks the model where the interval of the likeness to the forgetful network's maps lies below."""


@dataclass(frozen=True)
class Part:
    """The test views of one site, and what explains them."""

    model: Explained
    background: torch.Tensor
    images: Maps
    boxes: list[tuple[Box, ...]]
    patients: list[str]


def part_of(run: Path, data: Path | None, name: str, number: int) -> Part:
    """Up to so many malignant test views with known boxes."""
    tensors, metadata = from_bytes((run / "model.safetensors").read_bytes())
    task = task_from_yaml(metadata["task"])
    network = build_network(task, 0)
    network.load_state_dict(tensors)
    prepared = load_site(Site(name, (data or run / "phantom") / name, run / "sites" / name), task)
    test = prepared.of_split("test")
    malignant = [index for index, breast in enumerate(test.breasts) if breast.target]
    views = [view for view in shown_views(test, malignant) if view.boxes][:number]
    return Part(
        explained_copy(network if isinstance(network, BreastClassifier) else DetectedScore(network)),
        choose_background(prepared.of_split("train"), task.evaluation.background, 0),
        np.stack([view.pixels for view in views]),
        [view.boxes or () for view in views],
        [f"{name}/{test.breasts[view.breast].patient_id}" for view in views],
    )


def edges(model: Explained, images: torch.Tensor) -> Maps:
    """An edge detector: looks like an explanation and never asks the model."""
    pixels = images[:, 0].numpy()
    return only_tissue(np.hypot(sobel(pixels, 1), sobel(pixels, 2)).astype(np.float32), images)


def explainer(name: str, background: torch.Tensor) -> Explain:
    """An explainer of the product, or something that never asks the model."""
    if name in EXPLAINERS:
        return lambda model, images: EXPLAINERS[name](model, images, background).maps
    if name in CONTROLS:
        return lambda model, images: control_maps(images, 0)[name]
    return edges


def measured(name: str, part: Part, full: bool) -> Measured:
    """One explainer's maps, for the model and for one that has forgotten everything."""
    explain = explainer(name, part.background)
    images = torch.from_numpy(part.images)[:, None]
    forgotten = explain(untaught(part.model, 0), images)
    quality = measure_quality(part.model, explain, part.images, part.boxes, 0) if full else None
    return values_of(Explanation(explain(part.model, images)), forgotten, quality, images, part.boxes)


def together(some: list[Measured]) -> Measured:
    """The views of all parts as one."""
    qualities = [item.quality for item in some if item.quality is not None]
    return Measured(
        {key: np.concatenate([item.compared[key] for item in some]) for key in some[0].compared},
        None,
        np.concatenate([item.randomised for item in some]),
        MapQuality(**{name: np.concatenate([getattr(item, name) for item in qualities]) for name in QUALITIES})
        if qualities
        else None,
        np.concatenate([item.maps for item in some]),
    )


def written(found: Estimate) -> str:
    """Value with its interval."""
    return "-" if found.value is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def row(name: str, score: ExplanationScore, seconds: float) -> str:
    """Of the table."""
    same = score.randomised
    ahead = score.ahead if name not in CONTROLS else {}
    beaten = [key for key, leads in ahead.items() if all((lead.low or 0.0) > 0.0 for lead in leads.values())]
    cells = [
        written(score.pointing_game), written(score.energy_in_box), written(same),
        "yes" if same.high is not None and same.high < CHANGED else "no",
        (", ".join(beaten) or "none") if ahead else "",
    ]  # fmt: skip
    cells += [written(getattr(score.quality, key)) for key in SENT] if score.quality else []
    return f"| `{name}` | {' | '.join(cells)} | {seconds:.2f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--site", action="append", required=True)
    parser.add_argument("--data", type=Path, help="folder of the sites; default: the run's own phantom")
    parser.add_argument("--views", type=int, default=24, help="at most so many a run and site")
    parser.add_argument("--explainer", action="append", choices=EXPLAINERS)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--stride", type=int, choices=(8, 16, 32), default=8, help="pixels a cell of the CAMs' layer")
    options = parser.parse_args()
    switch_off()
    cam.FINEST_STRIDE = options.stride
    parts = [part_of(run, options.data, site, options.views) for run in options.runs for site in options.site]
    images = torch.from_numpy(np.concatenate([part.images for part in parts]))[:, None]
    patients = [patient for part in parts for patient in part.patients]
    names = [*(options.explainer or DEFAULT), "edges", *CONTROLS]
    found, seconds = {}, {}
    for name in names:
        begun = time.process_time()
        some = [measured(name, part, options.full) for part in parts]
        found[name], seconds[name] = together(some), (time.process_time() - begun) / len(patients)
        print(f"{name}: {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)
    scores = score_methods(found, images, patients, EvaluationConfig(), 0)
    heads = [
        "explainer",
        "pointing game",
        "energy in box",
        "likeness when all is forgotten",
        "asks the model",
        "beats both controls in",
    ]
    heads += [*(SENT if options.full else ()), "s a view, all told"]
    print(f"{', '.join(options.site)}: {len(patients)} views of {len(set(patients))} patients\n")
    print(f"| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")
    print("\n".join(row(name, score, seconds[name]) for name, score in scores.items()))


if __name__ == "__main__":
    main()
