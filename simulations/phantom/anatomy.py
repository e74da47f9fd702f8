"""Parenchyma, fat, Cooper's ligaments, muscle and skin of one view, as glandular fraction of the compressed tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.phantom.frame import Field, Frame, resample
from simulations.phantom.noise import Band, power_law
from simulations.phantom.outline import Outline, draw_outline, lattice
from simulations.phantom.patient import Patient, ViewName
from simulations.phantom.randomness import Purpose

# Linear attenuation at 20 keV in 1/mm (Johns & Yaffe 1987).
MU_FAT = 0.0456
MU_GLAND = 0.0802
MU_CARCINOMA = 0.0844
MU_MUSCLE = 0.0815
MU_CALCIFICATION = 1.2
DELTA_MU = MU_GLAND - MU_FAT

_SKIN_MM = 1.8
_PLANE = (Band(0.26, 3.8, 40.0), Band(0.04, 3.2, 10.0))
_POLAR = (Band(0.50, 3.8, 40.0), Band(0.09, 3.2, 10.0))


@dataclass(frozen=True)
class Tissue:
    """One view of a breast on its lattice: glandular fraction (0 fat, 1 gland; muscle, skin ≈ 1) and outline."""

    frame: Frame
    fraction: Field
    depth: Field
    outline: Outline
    thickness_mm: float


def draw_tissue(patient: Patient, view: ViewName) -> Tissue:
    """Healthy tissue of one view without look-alikes; glandular area of the breast is exactly the patient's density."""
    frame = lattice(patient)
    outline = draw_outline(patient, view)
    depth = outline.skin_distance(frame)
    plane, streaks, symmetric = _textures(patient, view, frame, outline)
    length, density = patient.nipple_distance_mm, patient.area_density
    gx = np.float32(0.47 * length)
    gy = np.float32(outline.nipple_y - (0.12 * length if view == "MLO" else 0.0))
    ax, ay = length * (0.30 + 0.28 * density), length * (0.34 + 0.36 * density)
    ellipse = ((frame.x() - gx) / ax)[None, :] ** 2 + ((frame.y() - gy) / ay)[:, None] ** 2
    hill = np.exp(-0.5 * ellipse)
    value = 1.9 * hill + plane + streaks + 0.25 * symmetric
    value += 0.35 * _retroareolar_cone(frame, outline)
    behind_edge = outline.pectoral_depth(frame)
    muscle = _ramp(behind_edge, -1.2, 1.2)
    counted = ((depth > 8) & (muscle < 0.5))[::2, ::2]
    threshold = np.quantile(value[::2, ::2][counted], 1 - density)
    gland = 1 / (1 + np.exp((threshold - value) / np.float32(0.6)))
    gland *= _ramp(depth, 3 + 4 * (1 - density), 12 + 8 * (1 - density))
    amplitude = np.clip(0.26 + 0.12 * density + 0.23 * plane + 0.10 * streaks, 0.08, 0.7)
    gland *= amplitude * (0.6 + 0.4 * hill * hill)
    gland += (0.05 + _ligaments(patient, view, frame)) * (1 - 0.6 * gland)
    # Muscle fills part of the compressed thickness, most at the chest wall; fat and fascia the rest.
    filling = np.float32(0.34) + 0.2 * _ramp(behind_edge, 0.0, 50.0) + 0.12 * plane
    muscle_fraction = filling * np.float32((MU_MUSCLE - MU_FAT) / DELTA_MU)
    gland += muscle * (muscle_fraction + 0.45 * gland - gland)
    return Tissue(frame, gland.astype(np.float32), depth, outline, patient.thickness_mm)


def path_length(depth: Field, frame: Frame, outline: Outline, thickness_mm: float) -> Field:
    """Thickness of compressed tissue along the beam in mm: semicircular free edge, paddle tilted by 5 %."""
    half = np.float32(thickness_mm / 2)
    rim = 1 - np.clip(depth, 0, half) / half
    tilt = (1 + 0.05 * (1 - frame.x() / outline.nipple_x))[None, :].astype(np.float32)
    path: Field = 2 * half * np.sqrt(np.maximum(1 - rim * rim, 0)) * tilt
    return path


def attenuation(fraction: Field, depth: Field, path: Field) -> Field:
    """Line integral of attenuation (dimensionless) of tissue with a skin of 1.8 mm."""
    skin = _ramp(depth, _SKIN_MM + 0.4, _SKIN_MM - 0.4)
    inner = fraction + skin * (1 - fraction)
    result: Field = (np.float32(MU_FAT) + np.float32(DELTA_MU) * inner) * path
    result += np.float32(2 * 1.5 * DELTA_MU) * (depth > 0)
    return result


def _textures(patient: Patient, view: ViewName, frame: Frame, outline: Outline) -> tuple[Field, Field, Field]:
    """Isotropic field, field streaming towards the nipple, and a coarse field shared by both sides and views."""
    rng = patient.rng(Purpose.GLAND, view)
    plane = power_law(rng, (frame.rows, frame.columns), frame.spacing, _PLANE)
    polar = power_law(rng, (384, 192), 0.5, _POLAR)
    dx = np.float32(outline.nipple_x + 6.0) - frame.x()[None, :]
    dy = frame.y()[:, None] - np.float32(outline.nipple_y)
    warp = 22.0 * plane
    row = (120.0 * np.arctan2(dy, dx) + 192.0 + 0.7 * warp) % 383.0
    column = (0.84 * np.hypot(dx, dy) + warp) % 191.0
    streaks = _bilinear(polar, row, column)
    grid = patient.rng(Purpose.SYMMETRY).standard_normal((6, 5)).astype(np.float32)
    symmetric = resample(grid, Frame(6, 5, 48.0, frame.top), frame)
    return plane, streaks, symmetric


def _bilinear(field: Field, row: Field, column: Field) -> Field:
    # A tiny negative number modulo n is n itself in float32.
    i = np.minimum(row.astype(np.int32), field.shape[0] - 2)
    j = np.minimum(column.astype(np.int32), field.shape[1] - 2)
    v, u = row - i, column - j
    index = i * np.int32(field.shape[1]) + j
    flat = field.ravel()
    left = flat[index] + v * (flat[index + field.shape[1]] - flat[index])
    right = flat[index + 1] + v * (flat[index + field.shape[1] + 1] - flat[index + 1])
    result: Field = left + u * (right - left)
    return result


def _ligaments(patient: Patient, view: ViewName, frame: Frame) -> Field:
    """Cooper's ligaments: thin bright lines where smooth random fields change sign."""
    rng = patient.rng(Purpose.SEPTA, view)
    coarse = Frame(frame.rows // 4, frame.columns // 4, frame.spacing * 4, frame.top)
    total = np.zeros((frame.rows, frame.columns), np.float32)
    for strength, width, scale in ((0.06, 0.10, 12.0), (0.04, 0.14, 7.0)):
        smooth = power_law(rng, (coarse.rows, coarse.columns), coarse.spacing, (Band(1.0, 5.0, scale),))
        field = resample(smooth, coarse, frame) / np.float32(width)
        total += np.float32(strength) * np.exp(-field * field)
    return total


def _retroareolar_cone(frame: Frame, outline: Outline) -> Field:
    behind = np.float32(outline.nipple_x) - frame.x()[None, :]
    across = (frame.y()[:, None] - np.float32(outline.nipple_y)) / (6 + 0.35 * np.maximum(behind, 0))
    cone: Field = np.exp(-(across**2) - behind / 35.0) * (behind > 0)
    return cone


def _ramp(value: Field, low: float, high: float) -> Field:
    """Smoothstep from 0 at ``low`` to 1 at ``high`` (which may lie below ``low``)."""
    t = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    result: Field = t * t * (3 - 2 * t)
    return result
