"""Look-alikes in every class with the same odds: dense islands, nodes, vessels, benign calcifications."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from simulations.phantom.anatomy import DELTA_MU, MU_FAT, MU_GLAND, Tissue
from simulations.phantom.difficulty import Difficulty
from simulations.phantom.frame import Field, Frame
from simulations.phantom.lesion import MassShape, add_calcification, core_chord, radial
from simulations.phantom.patient import Patient, Place, ViewName, draw_place
from simulations.phantom.randomness import Purpose


@dataclass(frozen=True)
class Speck:
    """A calcification at (x, y) mm; radius and thickness in mm."""

    x: float
    y: float
    radius: float
    thickness: float


def add_soft_distractors(tissue: Tissue, patient: Patient, view: ViewName, difficulty: Difficulty) -> None:
    """Draw islands of dense tissue, nodes and vessels into ``tissue.fraction``, in place."""
    breast = patient.rng(Purpose.DISTRACTORS)
    own = patient.rng(Purpose.DISTRACTORS, view)
    for _ in range(int(breast.poisson(difficulty.island_rate))):
        place, radius = draw_place(breast), float(np.clip(6.5 * np.exp(0.35 * breast.standard_normal()), 3, 14))
        strength = difficulty.island_conspicuity * float(breast.uniform(0.6, 1.2))
        x, y = tissue.outline.project(place, radius + 4)
        _add_blob(tissue, _island(x, y, radius, own), strength)
    if breast.random() < difficulty.node_probability and view == "MLO":
        _add_node(tissue, own, difficulty.island_conspicuity)
    _add_vessels(tissue, patient, view, difficulty)


def draw_specks(tissue: Tissue, patient: Patient, view: ViewName, difficulty: Difficulty) -> list[Speck]:
    """Benign calcifications of a view: single coarse ones, and a cluster with the configured probability."""
    breast = patient.rng(Purpose.DISTRACTORS, None)
    breast = np.random.Generator(np.random.PCG64(breast.integers(2**63)))
    specks = []
    for _ in range(int(breast.poisson(difficulty.coarse_calcification_rate))):
        place, radius = draw_place(breast), float(breast.uniform(0.5, 1.5))
        specks.append(_speck(tissue, place, radius, 0.55 * radius, (0.0, 0.0)))
    if breast.random() < difficulty.cluster_probability:
        place = draw_place(breast)
        for _ in range(int(breast.integers(6, 22))):
            offset = breast.normal(0, 3.0, 2)
            radius = float(breast.uniform(0.10, 0.28))
            specks.append(_speck(tissue, place, radius, 2 * radius, (float(offset[0]), float(offset[1]))))
    return specks


def add_specks(attenuation: Field, frame: Frame, specks: list[Speck]) -> None:
    """Draw calcifications into an attenuation image, in place."""
    for speck in specks:
        add_calcification(attenuation, frame, speck.x, speck.y, speck.radius, speck.thickness)


def _speck(tissue: Tissue, place: Place, radius: float, thickness: float, offset: tuple[float, float]) -> Speck:
    x, y = tissue.outline.project(place, 10.0)
    return Speck(x + offset[0], y + offset[1], radius, thickness)


def _island(x: float, y: float, radius: float, rng: np.random.Generator) -> MassShape:
    waves = tuple(
        (0.12 * float(rng.standard_normal()) / k**0.75, float(rng.uniform(0, 2 * np.pi))) for k in range(2, 8)
    )
    ratio, tilt = float(rng.uniform(0.5, 0.95)), float(rng.uniform(0, np.pi))
    return MassShape(x, y, radius, ratio, tilt, float(rng.uniform(0.5, 1.0)), 0.0, waves, ())


def _add_blob(tissue: Tissue, shape: MassShape, strength: float) -> None:
    """Add tissue of an ellipsoid to the glandular fraction, as the mass of the same chord would look."""
    area, dx, dy = tissue.frame.window(shape.x, shape.y, shape.reach)
    q, _ = radial(shape, dx, dy)
    fraction = tissue.fraction[area]
    contrast = MU_GLAND - (MU_FAT + DELTA_MU * np.clip(fraction, 0, 0.8))
    fraction += np.float32(strength / DELTA_MU / tissue.thickness_mm) * contrast * core_chord(shape, q)


def _add_node(tissue: Tissue, rng: np.random.Generator, strength: float) -> None:
    """An axillary lymph node: an oval with a lucent hilum, near the top of the oblique view."""
    radius = float(rng.uniform(4.0, 8.0))
    x = float(rng.uniform(0.2, 0.5)) * tissue.outline.nipple_x
    y = float(rng.uniform(-100, -55))
    tilt = float(rng.uniform(0.9, 1.8))
    oval = MassShape(x, y, radius, 0.6, tilt, 0.1, 0.0, ((0.03, 0.3), (0.02, 1.0)), ())
    hilum = MassShape(x - 0.3 * radius, y, 0.45 * radius, 0.6, tilt, 0.5, 0.0, (), ())
    _add_blob(tissue, oval, 1.4 * strength)
    _add_blob(tissue, hilum, -1.6 * strength)


def _add_vessels(tissue: Tissue, patient: Patient, view: ViewName, difficulty: Difficulty) -> None:
    """Vessels: smooth winding lines a few millimetres wide, mostly along the breast."""
    rng = patient.rng(Purpose.VESSELS, view)
    frame, length = tissue.frame, tissue.outline.nipple_x
    lines = np.zeros((frame.rows, frame.columns), np.float32)
    step = 0.5 * frame.spacing
    for _ in range(2 + int(rng.poisson(max(difficulty.vessel_rate - 2, 0.0)))):
        steps = int(rng.uniform(0.5, 1.0) * length / step)
        bends = np.repeat(rng.normal(0, 0.06, steps // 24 + 1), 24)[:steps]
        heading = rng.normal(0, 0.5) + np.cumsum(bends * 0.25)
        x = rng.uniform(0.0, 0.4) * length + np.cumsum(np.cos(heading)) * step
        y = tissue.outline.nipple_y + rng.uniform(-0.75, 0.6) * length + np.cumsum(np.sin(heading)) * step
        calibre = float(rng.uniform(0.8, 1.8))
        i = ((y - frame.top) / frame.spacing).astype(np.int64)
        j = (x / frame.spacing).astype(np.int64)
        inside = (i >= 0) & (i < frame.rows) & (j >= 0) & (j < frame.columns)
        np.add.at(lines, (i[inside], j[inside]), np.float32(calibre**2 * 0.5))
    smooth = gaussian_filter(lines, 0.9 / frame.spacing * 0.5, truncate=3.0)
    tissue.fraction[...] += np.minimum(smooth, 2.0) * np.float32(1.6 / tissue.thickness_mm) * (tissue.depth > 4)
