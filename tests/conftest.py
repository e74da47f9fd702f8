"""One CPU thread for every test: small networks are slower with more, and results repeat anywhere."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the deployed federation, whose tests wait more than they compute, so that others run meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_deployed.py")
