"""Masses (2-D analogue of de Sisternes et al. 2015) and calcifications, as attenuation added to tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.phantom.anatomy import DELTA_MU, MU_CALCIFICATION, MU_CARCINOMA, MU_FAT, MU_GLAND
from simulations.phantom.difficulty import Difficulty
from simulations.phantom.frame import Field, Frame
from simulations.phantom.noise import blur
from simulations.phantom.patient import Mass


@dataclass(frozen=True)
class Spicule:
    """Direction in rad, length beyond the core, width (σ) and thickness at the root in mm, curvature in 1/mm."""

    angle: float
    length: float
    width: float
    thickness: float
    curvature: float


@dataclass(frozen=True)
class MassShape:
    """A mass as one view shows it, centred at (x, y) mm; ``irregularity`` 0..1 follows the latent malignancy."""

    x: float
    y: float
    radius: float
    axis_ratio: float
    tilt: float
    irregularity: float
    z: float
    waves: tuple[tuple[float, float], ...]
    spicules: tuple[Spicule, ...]

    @property
    def reach(self) -> float:
        """Half-width in mm of a square that holds core and spicules."""
        longest = max((s.length + 3 * s.width for s in self.spicules), default=0.0)
        return 1.9 * self.radius + longest + 2.0


def draw_shape(mass: Mass, x: float, y: float, rng: np.random.Generator, difficulty: Difficulty) -> MassShape:
    """Contour and spicules of ``mass`` in a view where its centre lies at (x, y) mm."""
    ir = float(1 / (1 + np.exp(-1.3 * mass.z)))
    waves = tuple(
        ((0.02 + 0.17 * ir) * float(rng.standard_normal()) / k**0.75, float(rng.uniform(0, 2 * np.pi)))
        for k in range(2, 8)
    )
    number = int(rng.poisson(0.3 + difficulty.spicule_number * ir**1.5))
    start = rng.uniform(0, 2 * np.pi)
    spicules = tuple(
        Spicule(
            float(start + 2 * np.pi * (i + rng.normal(0, 0.3)) / max(number, 1)),
            float(mass.radius_mm * (0.3 + rng.gamma(2.5, 0.28)) * (0.4 + 0.8 * ir) * difficulty.spicule_length),
            float(rng.uniform(*difficulty.spicule_width)),
            float(min(difficulty.spicule_thickness * rng.uniform(0.4, 1.5), 0.9 * mass.radius_mm)),
            float(rng.normal(0, 0.016)),
        )
        for i in range(number)
    )
    return MassShape(x, y, mass.radius_mm, mass.axis_ratio, float(rng.uniform(0, np.pi)), ir, mass.z, waves, spicules)


def radial(shape: MassShape, dx: Field, dy: Field) -> tuple[Field, Field]:
    """Distance from the centre relative to the contour (q = 1 is the margin), and the margin's radius in mm."""
    cos, sin = np.float32(np.cos(shape.tilt)), np.float32(np.sin(shape.tilt))
    ratio = np.float32(np.sqrt(shape.axis_ratio))
    u, v = (dx * cos + dy * sin) * ratio, (dy * cos - dx * sin) / ratio
    angle = np.arctan2(v, u)
    contour = np.full(angle.shape, 1.0, np.float32)
    for k, (size, phase) in enumerate(shape.waves, start=2):
        contour += np.float32(size) * np.cos(k * angle + np.float32(phase))
    margin = np.float32(shape.radius) * np.maximum(contour, 0.35)
    return (np.hypot(u, v) / margin).astype(np.float32), margin


def core_chord(shape: MassShape, q: Field) -> Field:
    """Thickness of the core along the beam in mm; its margin is the softer, the more irregular the mass."""
    soft = np.float32(0.10 + 0.30 * shape.irregularity)
    inside = 1 - q * q
    chord = 0.5 * (inside + np.sqrt(inside * inside + 0.25 * soft * soft))
    outside = np.maximum(q - 1, 0) / soft
    result: Field = np.float32(1.5 * shape.radius) * np.sqrt(chord) * np.exp(-2 * outside * outside)
    return result


def spicule_thickness(shape: MassShape, dx: Field, dy: Field, spacing: float) -> Field:
    """Thickness of the spicules along the beam in mm; thin ones keep their mass when pixels are coarse."""
    total = np.zeros(np.broadcast_shapes(dx.shape, dy.shape), np.float32)
    for s in shape.spicules:
        cos, sin = np.float32(np.cos(s.angle)), np.float32(np.sin(s.angle))
        end = shape.radius + s.length
        along = dx * cos + dy * sin
        across = dy * cos - dx * sin - np.float32(0.5 * s.curvature) * along * along
        taper = np.clip((end - along) / np.float32(s.length + 0.3 * shape.radius), 0, 1) * (along > 0.4 * shape.radius)
        width = np.sqrt((s.width * np.sqrt(np.maximum(taper, 0.04))) ** 2 + (0.5 * spacing) ** 2).astype(np.float32)
        profile = np.float32(s.thickness * s.width) * taper / width * np.exp(-0.5 * (across / width) ** 2)
        np.maximum(total, profile, out=total)
    return total


def add_mass(
    frame: Frame, tissue: Field, path: Field, shape: MassShape, conspicuity: float, difficulty: Difficulty
) -> tuple[tuple[slice, slice], Field, NDArray[np.bool_], NDArray[np.bool_]]:
    """Attenuation that a mass adds to ``tissue`` (glandular fraction), replacing what it displaces.

    Returns:
        The patch of ``frame``, the added attenuation, the core (q < 1) and the support (core, margin, spicules) there.
    """
    area, dx, dy = frame.window(shape.x, shape.y, shape.reach)
    q, _ = radial(shape, dx, dy)
    chord = core_chord(shape, q)
    spicules = spicule_thickness(shape, dx, dy, frame.spacing)
    fraction, beam = tissue[area], path[area]
    core = q < 1
    weight = np.clip(chord / np.float32(0.75 * shape.radius), 0, 1)
    local = float((fraction * weight).sum() / max(float(weight.sum()), 1e-6))
    added = np.float32(0.65 * DELTA_MU) * (local - fraction) * weight * beam
    level = np.tanh(shape.z)
    contrast = MU_GLAND * (1 + 0.05 * level) - (MU_FAT + DELTA_MU * min(local, 0.8))
    gain = conspicuity * difficulty.mass_conspicuity * (1 + 0.18 * np.tanh(shape.z / 2))
    added += np.float32(gain * contrast) * chord
    outside = np.clip((q - 0.6) / 0.4, 0, 1)
    thread = np.float32(conspicuity * difficulty.spicule_strength) * (
        np.float32(MU_CARCINOMA - MU_FAT) - np.float32(DELTA_MU) * np.clip(fraction, 0, 0.7)
    )
    threads = (thread * spicules * outside).astype(np.float32)
    # Spicules are tissue drawn together: what they gain, the gaps between them lose (architectural distortion).
    local_frame = Frame(threads.shape[0], threads.shape[1], frame.spacing, 0.0)
    added += threads - np.float32(difficulty.retraction) * outside * blur(threads, local_frame, 3.0)
    added *= np.clip(beam / 16, 0, 1)
    return area, added.astype(np.float32), core, (q < 1.5) | (spicules > 0.02)


def add_calcification(attenuation: Field, frame: Frame, x: float, y: float, radius: float, thickness: float) -> None:
    """Add a calcification of given radius and thickness (mm) at (x, y) mm; a speck keeps its mass at any spacing."""
    sigma = max(0.7 * radius, 0.45 * frame.spacing)
    area, dx, dy = frame.window(x, y, 4 * sigma)
    splat = np.exp(-(dx * dx + dy * dy) / np.float32(2 * sigma * sigma))
    attenuation[area] += np.float32(MU_CALCIFICATION * thickness * (0.7 * radius / sigma) ** 2) * splat
