"""Clipping, noise and the mean of a private step, by hand, by statistics and by Opacus."""

import hashlib
import math

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from opacus.optimizers import DPOptimizer
from scipy import stats
from torch import nn

from client.privacy.mechanism import ClippedSum, clip_factor, noisy_mean, norm_of
from common.entropy import CHUNK, Entropy


def tensors(*values):
    return [torch.tensor(value) for value in values]


def test_clipping_by_hand():
    """A gradient of norm 5 is scaled to 2.5, one of norm 1 stays; losses are kept in order."""
    clipped = ClippedSum.of_nobody(tensors([0.0, 0.0], [[0.0]]), 2.5)
    clipped.add(tensors([3.0, 0.0], [[4.0]]), 0.7)
    torch.testing.assert_close(clipped.total, [torch.tensor([1.5, 0.0]).double(), torch.tensor([[2.0]]).double()])
    clipped.add(tensors([0.0, 1.0], [[0.0]]), 0.2)
    torch.testing.assert_close(clipped.total, [torch.tensor([1.5, 1.0]).double(), torch.tensor([[2.0]]).double()])
    assert clipped.losses == [0.7, 0.2] and clipped.not_finite == 0


def test_nobody_adds_more_than_the_bound_in_ten_thousand_draws():
    """Gradients of a linear problem over twelve orders of magnitude, some far from representable fractions."""
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(10_000, 7)), random.normal(size=10_000)
    scale = 10.0 ** random.uniform(-6, 6, 10_000)
    largest = 0.0
    for number in range(10_000):
        gradient = [
            torch.from_numpy(weight[number] * scale[number]).float(),
            torch.tensor(bias[number] * scale[number]).float(),
        ]
        bound = float(random.uniform(0.01, 3.0))
        alone = ClippedSum.of_nobody(gradient, bound)
        alone.add(gradient, 0.0)
        largest = max(largest, norm_of(alone.total) / bound)
        if norm_of(gradient) <= bound:
            assert all(torch.equal(a, b.double()) for a, b in zip(alone.total, gradient, strict=True))
    assert 1 - 1e-9 < largest <= 1.0


def test_in_a_sum_too_one_patient_makes_no_more_difference_than_the_bound():
    """Sums of hundreds with and without one; in float32 the difference passes the bound."""
    random = torch.Generator().manual_seed(0)
    everyone = [[100 * torch.randn(50, generator=random)] for _ in range(300)]
    for left_out in (0, 150, 299):
        sums = [ClippedSum.of_nobody(everyone[0], 1.0) for _ in range(2)]
        for number, gradient in enumerate(everyone):
            sums[0].add(gradient, 0.0)
            if number != left_out:
                sums[1].add(gradient, 0.0)
        assert float((sums[0].total[0] - sums[1].total[0]).norm()) <= 1.0 + 1e-12


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_not_finite_adds_nothing(value):
    clipped = ClippedSum.of_nobody(tensors([0.0, 0.0]), 1.0)
    clipped.add(tensors([1.0, value]), 3.0)
    assert clipped.not_finite == 1 and not clipped.total[0].any()
    assert clip_factor(math.inf, 1.0) is None and clip_factor(math.nan, 1.0) is None and clip_factor(0.0, 1.0) == 1.0


def test_the_mean_is_over_the_expected_number():
    """Three were drawn where four are expected: (1 + 2 + 3) / 4; without noise no entropy matters."""
    clipped = ClippedSum.of_nobody(tensors([0.0]), 10.0)
    for value in (1.0, 2.0, 3.0):
        clipped.add(tensors([value]), 0.0)
    assert noisy_mean(clipped, 0.0, 4.0, Entropy())[0].item() == 1.5


def test_noise_has_the_promised_deviation_and_covers_nobody_too():
    """sigma 1.5, bound 2, expected 8: 3 / 8; a chi-square interval that holds in all but 1e-6 of the cases."""
    values = 200_001
    clipped = ClippedSum.of_nobody([torch.zeros(values - 1), torch.zeros(())], 2.0)
    noise = torch.cat([item.flatten() for item in noisy_mean(clipped, 1.5, 8.0, Entropy())]).numpy()
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], values)
    assert low < (noise**2).sum() / (3 / 8) ** 2 < high
    assert stats.kstest(noise / (3 / 8), "norm").pvalue > 1e-6
    assert np.unique(noise).size == values


def test_a_step_is_that_of_opacus():
    """Opacus' optimiser on the same gradients, an empty batch in the middle, noise off: AdamW goes the same way."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
    theirs = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
    theirs.load_state_dict(ours.state_dict())
    mine = torch.optim.AdamW(ours.parameters(), lr=0.01, weight_decay=0.1)
    inner = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    opacus = DPOptimizer(inner, noise_multiplier=0.0, max_grad_norm=0.3, expected_batch_size=4)
    for drawn in (5, 0, 3):
        inputs = torch.randn(drawn, 6)
        clipped = ClippedSum.of_nobody(list(ours.parameters()), 0.3)
        samples = [[] for _ in theirs.parameters()]
        for number in range(drawn):
            clipped.add(torch.autograd.grad(ours(inputs[number]).pow(2).sum(), list(ours.parameters())), 0.0)
            alone = torch.autograd.grad(theirs(inputs[number]).pow(2).sum(), list(theirs.parameters()))
            for kept, gradient in zip(samples, alone, strict=True):
                kept.append(gradient)
        for value, gradient in zip(ours.parameters(), noisy_mean(clipped, 0.0, 4.0, Entropy()), strict=True):
            value.grad = gradient.float()
        for value, kept in zip(theirs.parameters(), samples, strict=True):
            value.grad_sample = torch.stack(kept) if kept else torch.zeros(0, *value.shape)
        mine.step()
        opacus.step()
        opacus.zero_grad()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_entropy_is_new_each_time_whatever_the_seeds_of_others():
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.seed(0)
        entropy = Entropy()
        drawn.append((entropy.normal(8).tolist(), entropy.uniform(8).tolist(), entropy.seed()))
    assert all(a != b for a, b in zip(*drawn, strict=True))
    assert Entropy(3).normal(5).tolist() == Entropy(3).normal(5).tolist() != Entropy(4).normal(5).tolist()


def test_a_stream_is_not_repeated():
    entropy = Entropy(0)
    assert len({entropy.seed() for _ in range(1000)}) == 1000
    assert not set(entropy.normal(1000).tolist()) & set(entropy.normal(1000).tolist())


def test_the_keystream_is_that_of_aes():
    """256 bits of key, counter from zero: the block cipher itself, block by block."""
    block = Cipher(algorithms.AES(hashlib.sha256(b"test 7").digest()), modes.ECB()).encryptor()
    words = np.frombuffer(b"".join(block.update(n.to_bytes(16, "big")) for n in range(3)), dtype="<u8")
    assert Entropy(7).uniform(6).tolist() == [((int(word) >> 11) + 0.5) / 2**53 for word in words]


@pytest.mark.parametrize("count", [0, 1, 2, 7, CHUNK - 1, CHUNK, CHUNK + 3])
def test_normals_come_in_any_number(count):
    found = Entropy(1).normal(count)
    assert found.shape == (count,) and found.dtype == torch.float64 and bool(found.isfinite().all())


def test_normals_are_normal_and_independent_of_their_partners():
    """Each half of a chunk shares its pairs of uniform numbers with the other half."""
    found = Entropy(2).normal(2 * (CHUNK // 2)).numpy()
    first, second = found[: CHUNK // 2], found[CHUNK // 2 :]
    assert stats.kstest(found, "norm").pvalue > 1e-4
    for a, b in ((first, second), (first**2, second**2), (first[1:], first[:-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(len(a))
    assert abs(stats.kurtosis(found)) < 5 * math.sqrt(24 / len(found))


def test_uniform_numbers_are_uniform_and_never_the_ends():
    found = Entropy(5).uniform(100_000).numpy()
    assert found.min() > 0 and found.max() < 1 and stats.kstest(found, "uniform").pvalue > 1e-4
