"""One CPU thread for every test: small networks are slower with more, and results repeat anywhere."""

import pytest
import torch

torch.set_num_threads(1)


LONGEST = (
    "test_deployed.py",  # waits more than it computes, so that others run meanwhile
    "test_compare.py",
    "test_readiness.py",
    "test_memory.py",
    "test_bad_input.py",
    "test_run.py",
    "test_detector.py",
    "test_nulls.py",
    "test_limits.py",
    "test_what_leaves_a_site.py",
)
"""Files that take longest, in this order: a worker takes a whole file, and the last one should be short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))
