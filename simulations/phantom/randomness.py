"""Every random number has an address, so that order, parallelism and subset never change a picture."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of random numbers is for; the numbers are part of the generator's version."""

    PATIENT = 0
    LABEL_NOISE = 1
    SHAPE = 2
    SYMMETRY = 3
    GLAND = 4
    SEPTA = 5
    VESSELS = 6
    DISTRACTORS = 7
    LESION = 8
    LESION_VIEW = 9
    QUANTA = 10
    FINE = 11
    IDENTITY = 12
    SKIN_MARKER = 13


BOTH_SIDES = 2
ALL_VIEWS = 2


def generator(
    dataset_seed: int, site_id: int, patient: int, purpose: Purpose, side: int = BOTH_SIDES, view: int = ALL_VIEWS
) -> np.random.Generator:
    """Generator of one patient, purpose, side (0 L, 1 R, 2 both) and view (0 CC, 1 MLO, 2 all)."""
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([dataset_seed, site_id, patient, int(purpose), side, view]))
    )
