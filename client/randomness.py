"""Random generators with an owner: made from run seed, site and round, so that runs repeat bit for bit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Generators:
    """One generator for each kind of library, and a seed for layers that draw by themselves (dropout)."""

    numpy: np.random.Generator
    torch: torch.Generator
    dropout_seed: int


def generators(seed: int, site: str, round_number: int, purpose: str) -> Generators:
    """Make the generators of one piece of work.

    The same arguments give the same numbers; any other gives independent ones.
    """
    text = hashlib.sha256(f"{site}/{purpose}".encode()).digest()
    entropy = [seed, round_number, *np.frombuffer(text, dtype=np.uint32).tolist()]
    drawing, augmenting, dropping = np.random.SeedSequence(entropy).spawn(3)
    torch_generator = torch.Generator().manual_seed(int(augmenting.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return Generators(
        np.random.default_rng(drawing), torch_generator, int(dropping.generate_state(1, np.uint64)[0] >> np.uint64(1))
    )
