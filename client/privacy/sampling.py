"""Which patients a private step learns from."""

from __future__ import annotations

import numpy as np

from common.data.dataset import SiteData
from common.data.sampling import Indices
from common.entropy import Entropy


def patients_of(data: SiteData) -> list[Indices]:
    """Breasts of each patient, by number; patients in the order in which they come up."""
    breasts: dict[str, list[int]] = {}
    for number, breast in enumerate(data.breasts):
        breasts.setdefault(breast.patient_id, []).append(number)
    return [np.array(numbers, dtype=np.int64) for numbers in breasts.values()]


def draw(patients: int, rate: float, entropy: Entropy) -> Indices:
    """Numbers of the patients drawn: each with probability ``rate``, whoever else is drawn (Poisson sampling).

    What a step costs is computed for this way of drawing and no other; there may be nobody among them.
    """
    return np.flatnonzero(entropy.uniform(patients).numpy() < rate).astype(np.int64)
