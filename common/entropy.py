"""Random numbers that nobody can foretell: who is drawn in a private step, and the noise that covers them."""

from __future__ import annotations

import hashlib
import math
import secrets

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

TERMS = 4
"""Gaussians added up for one: 2n with n = 2."""
CHUNK = 1 << 18
"""Values made at once, which bounds memory."""


class Entropy:
    """The keystream of AES-256 in counter mode under a key of the operating system's, never used twice.

    A promise of differential privacy holds against those who do not know the noise, nor who was drawn. The generators
    that training uses otherwise begin with the run's seed, which the coordinator chooses, so none of that may come
    from them; and the outputs of Mersenne Twister or PCG betray their state. Opacus asks ``torchcsprng`` for this,
    which is no longer made.

    Args:
        seed: for tests alone: the key comes from it, and nothing is private any more.
    """

    def __init__(self, seed: int | None = None) -> None:
        key = secrets.token_bytes(32) if seed is None else hashlib.sha256(f"test {seed}".encode()).digest()
        self._stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> torch.Tensor:
        """float64 ``(count,)``, multiples of 2^-53 and half of that: never 0, never 1."""
        words = np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)
        return torch.from_numpy(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)

    def normal(self, count: int) -> torch.Tensor:
        r"""float64 ``(count,)``, standard normal, whose last bits do not tell what they were added to.

        Not every float is a value of Box and Muller's formula, so from a released sum with one of its values an
        attacker may find what it was added to (Mironov 2012). As Opacus' ``secure_mode`` does, each value is therefore
        the sum of 2n = 4 independent ones over the root of 2n: to undo it, 2^(53 (2n - 1)) = 2^159 combinations would
        have to be gone through (Holohan & Braghin 2021, "Secure Random Sampling in Differential Privacy", arXiv
        2107.10138, section 5.1).
        """
        parts = [self._sums(min(CHUNK, count - start)) for start in range(0, count, CHUNK)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)

    def _sums(self, count: int) -> torch.Tensor:
        half = (count + 1) // 2
        radius, angle = self.uniform(2 * TERMS * half).view(2, TERMS, half)
        radius = torch.sqrt(-2 * torch.log(radius))
        angle = 2 * math.pi * angle
        pairs = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        return pairs.sum(dim=0)[:count] / math.sqrt(TERMS)

    def seed(self) -> int:
        """A seed for torch's generators, 0 to 2^62."""
        return int.from_bytes(self._stream.update(bytes(8)), "little") >> 2
