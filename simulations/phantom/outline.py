"""Outline of the compressed breast in one view: signed distance to the skin, pectoral edge, where lesions project."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from simulations.phantom.frame import Field, Frame, resample
from simulations.phantom.patient import Patient, Place, ViewName
from simulations.phantom.randomness import Purpose

_TOP = -144.0
_COARSE = 3.0
_CHEST_MARGIN = 15.0


@dataclass(frozen=True)
class Outline:
    """Geometry of one view, in mm; ``skin`` samples the signed distance to the skin (inside positive) on ``coarse``."""

    view: ViewName
    nipple_x: float
    nipple_y: float
    coarse: Frame
    skin: Field
    pectoral_top: float
    pectoral_end: float
    pectoral_bow: float

    def skin_distance(self, frame: Frame) -> Field:
        """Signed distance to the skin in mm on ``frame``; the chest wall and the image edges are not skin."""
        return resample(self.skin, self.coarse, frame)

    def skin_distance_at(self, x: float, y: float) -> float:
        """Signed distance to the skin at a point."""
        where = np.array([[(y - _TOP) / _COARSE - 0.5], [x / _COARSE - 0.5]])
        return float(map_coordinates(self.skin, where, order=1, mode="nearest")[0])

    def pectoral_depth(self, frame: Frame) -> Field:
        """Depth behind the edge of the pectoral muscle in mm (positive inside the muscle) on ``frame``."""
        return (self._pectoral_edge(frame.y())[:, None] - frame.x()[None, :]).astype(np.float32)

    def _pectoral_edge(self, y: Field) -> Field:
        if self.view == "CC":
            edge = self.pectoral_top * (1 - ((y - self.nipple_y) / 45.0) ** 2)
        else:
            down = np.clip((y - _TOP) / (self.pectoral_end - _TOP), -1.0, 2.0)
            edge = self.pectoral_top * (1 - down) * (1 + self.pectoral_bow * down)
        return np.asarray(np.where(edge > 0, edge, -60.0), dtype=np.float32)

    def project(self, place: Place, margin: float) -> tuple[float, float]:
        """Point (x, y) in mm where a place appears, moved towards the nipple axis until ``margin`` mm inside the skin.

        The nipple distance agrees between CC and MLO (the arc rule); an MLO mixes lateral and vertical position.
        """
        length = self.nipple_x
        reach = float(np.sqrt(max(1 - 0.7 * place.depth**2, 0.15)))
        x = place.depth * length
        if self.view == "CC":
            offset = 0.55 * length * place.lateral * reach
        else:
            offset = -0.08 * length + 0.62 * length * (0.71 * place.vertical - 0.25 * place.lateral) * reach
        for _ in range(12):
            if self.skin_distance_at(x, self.nipple_y + offset) >= margin:
                break
            offset *= 0.85
            x = x if abs(offset) > 5 else max(0.95 * x, margin)
        return x, self.nipple_y + offset


def lattice(patient: Patient) -> Frame:
    """The 0.5 mm lattice on which anatomy is drawn whatever the output spacing; 288 mm high."""
    columns = 32 * int(np.ceil((patient.nipple_distance_mm + 10.0) / 0.5 / 32))
    return Frame(576, columns, 0.5, _TOP)


def draw_outline(patient: Patient, view: ViewName) -> Outline:
    """Outline of a patient's breast in one view."""
    rng = patient.rng(Purpose.SHAPE, view)
    length = patient.nipple_distance_mm
    width = lattice(patient).columns * 0.5
    coarse = Frame(96, round(width / _COARSE), _COARSE, _TOP)
    if view == "CC":
        nipple_y = float(rng.uniform(-6, 6))
        half = float(np.clip(0.58 * length + rng.normal(44, 5), 70, 108))
        x, y = _half_oval(length, half, nipple_y, rng)
        top, end, bow = float(rng.uniform(3, 10)) if rng.random() < 0.35 else 0.0, 0.0, 0.0
    else:
        nipple_y = float(rng.uniform(8, 28))
        x, y = _side_profile(length, nipple_y, rng)
        top = float(rng.uniform(0.42, 0.72)) * length
        end = nipple_y + float(rng.uniform(-25, 25))
        bow = float(rng.uniform(0.05, 0.5))
    skin = _distance_to_line(x, y, coarse)
    nipple = 5.0 - np.hypot(coarse.x()[None, :] - (length - 2.5), coarse.y()[:, None] - nipple_y)
    # Smooth union (radius 3 mm) of the breast and the nipple's little ball.
    skin = skin + np.float32(3.0) * np.log1p(np.exp(np.clip((nipple - skin) / 3.0, -30, 30))) * np.exp(
        -np.clip(skin, 0, None) / 4.0
    )
    return Outline(view, length, nipple_y, coarse, skin.astype(np.float32), top, end, bow)


def _half_oval(
    length: float, half: float, nipple_y: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cranio-caudal outline: half a superellipse, slightly lopsided, open at the chest wall."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 65)
    fullness = rng.uniform(0.80, 1.0)
    lopsided = rng.normal(0, 0.05)
    x = length * np.cos(t) ** fullness * (1 + lopsided * np.sin(t) * np.cos(t))
    y = nipple_y + half * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.96
    return _open_ends(x, y)


def _side_profile(
    length: float, nipple_y: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mediolateral oblique outline: from the axilla at the top over the nipple to the fold below."""
    armpit = length * rng.uniform(0.38, 0.58)
    s = np.linspace(0, 1, 49)
    shape = rng.uniform(0.85, 1.25)
    rise = np.sin(np.pi / 2 * s**shape) ** rng.uniform(1.1, 1.5)
    upper_x, upper_y = armpit + (length - armpit) * rise, _TOP - 6 + (nipple_y - _TOP + 6) * s
    lower = float(np.clip(0.52 * length + rng.normal(26, 5), 50, 84))
    t = np.linspace(0, np.pi / 2, 33)[1:]
    lower_x = length * np.cos(t) ** rng.uniform(0.75, 0.95)
    lower_y = nipple_y + lower * np.sin(t)
    return _open_ends(np.concatenate([upper_x, lower_x]), np.concatenate([upper_y, lower_y]), top=False)


def _open_ends(
    x: NDArray[np.float64], y: NDArray[np.float64], top: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lead the line straight behind the chest wall, which is not skin."""
    first = ([-60.0], [y[0]]) if top else ([], [])
    return np.concatenate([first[0], x, [-60.0]]), np.concatenate([first[1], y, [y[-1]]])


def _distance_to_line(x: NDArray[np.float64], y: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Exact signed distance of the pixels of ``frame`` to a polyline that runs down in y; left of it is inside."""
    px, py = (grid.ravel()[:, None] for grid in np.meshgrid(frame.x(), frame.y()))
    line_x, line_y = x.astype(np.float32), y.astype(np.float32)
    dx, dy = np.diff(line_x), np.diff(line_y)
    px, py = px - line_x[:-1], py - line_y[:-1]
    along = (px * dx + py * dy) * (1 / np.maximum(dx**2 + dy**2, np.float32(1e-9)))
    along = np.clip(along, 0.0, 1.0)
    squared = (px - along * dx) ** 2 + (py - along * dy) ** 2
    distance = np.sqrt(squared.min(axis=1)).reshape(frame.rows, frame.columns)
    edge = np.interp(frame.y(), y, x, left=-np.inf if y[0] > frame.top else x[0], right=-np.inf)
    signed: NDArray[np.float64] = np.where(frame.x()[None, :] < edge[:, None], distance, -distance)
    return signed
