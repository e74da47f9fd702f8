"""A planted shortcut: the ring of wire that a radiographer tapes to the skin, away from the mass.

Real archives have such rings (some images of RSNA 2022 do). Where patients who turn out to be ill wear them more often,
a network learns to look for the ring.
"""

from __future__ import annotations

import numpy as np

from simulations.phantom.frame import Field, Frame

RADIUS_MM, WIRE_MM = 5.0, 1.2
ATTENUATION = 1.5
"""Line integral of the wire: brighter than any tissue."""
FROM_SKIN_MM, FROM_MASS_MM = 12.0, 20.0


def add_skin_marker(
    image: Field, frame: Frame, depth: Field, mass: tuple[float, float, float] | None, rng: np.random.Generator
) -> None:
    """Add the attenuation of a ring to ``image``, in place.

    Args:
        image: line integrals of attenuation, ``(rows, columns)``.
        frame: of the image.
        depth: distance from the skin in mm, positive inside the breast.
        mass: x, y and radius of a mass in mm, which the ring stays away from, as far as the breast is large enough.
        rng: decides where.
    """
    away = np.ones_like(depth, dtype=np.float32)
    if mass is not None:
        x, y, radius = mass
        away = np.hypot(frame.x()[None, :] - np.float32(x), frame.y()[:, None] - np.float32(y)) - np.float32(radius)
    edge = RADIUS_MM + WIRE_MM  # the ring is whole in the picture
    down, across = frame.y()[:, None], frame.x()[None, :]
    shown = (across > edge) & (down > frame.top + edge) & (down < frame.top + frame.rows * frame.spacing - edge)
    room = shown & (depth > FROM_SKIN_MM) & (away > (FROM_MASS_MM if mass is not None else 0.0))
    if not room.any():
        room = (depth > 0) & (away == away[depth > 0].max())  # wherever it is farthest
    row, column = np.argwhere(room)[int(rng.integers(int(room.sum())))]
    centre = float(frame.x()[column]), float(frame.y()[row])
    area, dx, dy = frame.window(*centre, RADIUS_MM + 2 * WIRE_MM)
    # Width of the wire smeared over a pixel, so that the ring is whole at any spacing.
    width = max(WIRE_MM, frame.spacing)
    profile = np.clip((width / 2 + frame.spacing / 2 - np.abs(np.hypot(dx, dy) - RADIUS_MM)) / frame.spacing, 0, 1)
    image[area] += (ATTENUATION * WIRE_MM / width * profile).astype(np.float32)
