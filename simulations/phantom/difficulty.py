"""Every knob that makes the task easier or harder, in one place; sites scale radius and conspicuity around these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """Difficulty of the phantom; lengths in mm, rates per breast, strengths relative to physical contrast.

    ``d_prime`` is the distance of the malignancy latent z between malignant and benign masses: with every lesion
    perfectly visible no reader separates the two better than Φ(d'/√2). A ``faint_share`` of all masses has its contrast
    multiplied by ``faint_visibility``: what cannot be seen bounds the AUC, while the rest stays easy enough to learn
    from. ``retraction`` is the share of a spicule's tissue taken from the gaps beside it. Distractors never depend on
    the label.
    """

    d_prime: float = 3.0
    faint_share: float = 0.40
    faint_visibility: float = 0.35
    radius_scale: float = 1.0
    radius_spread: float = 0.25
    mass_conspicuity: float = 0.8
    spicule_strength: float = 9.0
    spicule_number: float = 36.0
    spicule_length: float = 1.8
    spicule_width: tuple[float, float] = (0.40, 0.90)
    spicule_thickness: float = 2.5
    retraction: float = 1.0
    island_rate: float = 2.5
    island_conspicuity: float = 1.3
    coarse_calcification_rate: float = 0.35
    cluster_probability: float = 0.2
    node_probability: float = 0.45
    vessel_rate: float = 3.0


DEFAULT = Difficulty()
