"""One view of one patient: anatomy, look-alikes, lesion, detector, vendor chain; stored pixels with their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.phantom.anatomy import attenuation, draw_tissue, path_length
from simulations.phantom.detector import expose
from simulations.phantom.difficulty import DEFAULT, Difficulty
from simulations.phantom.distractors import add_soft_distractors, add_specks, draw_specks
from simulations.phantom.frame import Field, Frame, resample
from simulations.phantom.lesion import add_mass, draw_shape
from simulations.phantom.marker import burn_marker
from simulations.phantom.noise import Band, power_law
from simulations.phantom.patient import Patient, ViewName
from simulations.phantom.randomness import Purpose
from simulations.phantom.sites import Acquisition
from simulations.phantom.skin_marker import add_skin_marker
from simulations.phantom.vendor import display, store

_AIR_MARGIN_MM = 8.0
_FINE_BELOW_MM = 0.35


@dataclass(frozen=True)
class View:
    """One rendered view; arrays are (rows, columns) of the stored image, mirrored for a right breast.

    ``core`` is the mass without spicules (mask and box), ``support`` all that the lesion touches, ``box`` is
    (x0, y0, x1, y1) in pixels, 0-based, ends exclusive, None without a lesion.
    """

    stored: NDArray[np.uint16]
    breast: NDArray[np.bool_]
    core: NDArray[np.bool_]
    support: NDArray[np.bool_]
    box: tuple[int, int, int, int] | None
    spacing_mm: float
    acquisition: Acquisition


def render_view(
    patient: Patient,
    view: ViewName,
    acquisition: Acquisition,
    *,
    rows: int = 512,
    difficulty: Difficulty = DEFAULT,
    erase_lesion: bool = False,
    skin_marker: bool = False,
) -> View:
    """Render a view with ``rows`` × ¾ ``rows`` pixels over the machine's field.

    ``erase_lesion`` gives the healthy twin: the same patient, breast, exposure and noise without the mass.
    ``skin_marker`` lays a ring of wire on the skin, away from the mass.
    """
    spacing = acquisition.field_mm / rows
    columns = round(rows * 0.75)
    tissue = draw_tissue(patient, view)
    add_soft_distractors(tissue, patient, view, difficulty)
    # Only the columns that hold breast are simulated; the rest of the matrix is air.
    used = min(columns, int(np.ceil((patient.nipple_distance_mm + _AIR_MARGIN_MM) / spacing)))
    frame = Frame(rows, used, spacing, -acquisition.field_mm / 2)
    depth = tissue.outline.skin_distance(frame)
    fraction = resample(tissue.fraction, tissue.frame, frame)
    if spacing < _FINE_BELOW_MM:
        _add_fine_texture(fraction, frame, patient, view)
    path = path_length(depth, frame, tissue.outline, patient.thickness_mm)
    healthy = attenuation(fraction, depth, path)
    add_specks(healthy, frame, draw_specks(tissue, patient, view, difficulty))
    breast = depth > 0
    core, support = np.zeros_like(breast), np.zeros_like(breast)
    patch, added, where = None, None, None
    if patient.mass is not None:
        rng = patient.rng(Purpose.LESION_VIEW, view)
        x, y = tissue.outline.project(patient.mass.place, patient.mass.radius_mm + 6)
        jitter = rng.normal(0, 1.0, 2)
        shape = draw_shape(patient.mass, x + float(jitter[0]), y + float(jitter[1]), rng, difficulty)
        patch, added, inner, outer = add_mass(
            frame, fraction, path, shape, patient.site.population.conspicuity * patient.mass.visibility, difficulty
        )
        where = shape.x, shape.y, patient.mass.radius_mm
        core[patch], support[patch] = inner & breast[patch], outer
    if skin_marker:
        add_skin_marker(healthy, frame, depth, where, patient.rng(Purpose.SKIN_MARKER, view))
    seen = (None, None) if erase_lesion else (patch, added)
    quanta = patient.rng(Purpose.QUANTA, view)
    signal, twin = expose(healthy, *seen, breast, frame, patient.thickness_mm, acquisition, quanta)
    if acquisition.intent == "FOR PROCESSING":
        image: Field = signal
        air = np.float32(np.inf)
    else:
        image = display(signal, twin, depth, path, frame, acquisition)
        image[depth < -1.0] = 0.0
        air = np.float32(0.0)
    full = np.full((rows, columns), air, np.float32)
    full[:, :used] = image
    stored = store(np.minimum(full, 1e6), acquisition)
    masks = [np.pad(mask, ((0, 0), (0, columns - used))) for mask in (breast, core, support)]
    if patient.laterality == "R":
        stored = np.ascontiguousarray(stored[:, ::-1])
        masks = [np.ascontiguousarray(mask[:, ::-1]) for mask in masks]
    burn_marker(stored, patient.laterality, view, acquisition)
    return View(stored, masks[0], masks[1], masks[2], _bounds(masks[1]), spacing, acquisition)


def _add_fine_texture(fraction: Field, frame: Frame, patient: Patient, view: ViewName) -> None:
    """Octaves finer than the anatomy lattice, for spacings that can show them (tile repeated every 60 mm)."""
    side = int(np.ceil(60.0 / frame.spacing))
    tile = power_law(patient.rng(Purpose.FINE, view), (side, side), frame.spacing, (Band(0.05, 3.0, 1.0),))
    copies = (-(-frame.rows // side), -(-frame.columns // side))
    fraction += np.tile(tile, copies)[: frame.rows, : frame.columns] * np.clip(fraction, 0.15, 0.8)


def _bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
