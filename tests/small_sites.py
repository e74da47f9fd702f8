"""Sites of a few small pictures, and federations of them in a second: the very apps, only the reading is spared."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.app import app as client_app
from common.configuration import RunConfig, load_run
from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry
from common.models.network import Network
from common.models.parameter_groups import relative_rates
from common.parameters import trained_names
from server.federated_run import Federation
from server.history import RoundRecord
from server.identity import identity
from server.initial import initial_model
from server.rounds import run_rounds
from simulations.local_grid import LocalGrid

ROWS, COLUMNS = 32, 24
LEVELS = {"MCS": 0.0, "TUH": 0.7, "RAW": -0.7}
"""Sites, and how much brighter than the first each one's pictures are."""


def small_site(folder: Path, name: str) -> SiteData:
    """Sixteen breasts of one view each, every third malignant and brighter; eight train, four each do the rest."""
    random, breasts, views = np.random.default_rng(sorted(LEVELS).index(name)), [], []
    for number in range(16):
        malignant = number % 3 == 0
        pixels = np.full((ROWS, COLUMNS), -3.0, dtype=np.float16)
        pixels[:, :16] = random.normal(float(malignant) + LEVELS[name], 0.5, (ROWS, 16)).clip(-2, 4)
        file = folder / name / f"{number}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, pixels)
        split = "train" if number < 8 else "validation" if number < 12 else "test"
        view = View(file, "CC", number + 2, None)
        breasts.append(Breast(f"p{number}", "1", "L", "malignant" if malignant else "normal", split, (view,)))
        geometry = Geometry(ROWS, 16, (0, 0, 16, ROWS), False, False, ROWS, COLUMNS, (ROWS, 16), 0)
        facts = ImageFacts(FileFacts("PNG", 8), PixelFacts(f"{number:064x}", False, False, 0.5))
        views.append((CachedImage(file, geometry, facts),))
    return SiteData(name, tuple(breasts), tuple(views))


def remembering(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function, quicker the second time: reading settings takes longer than training on so few pictures."""
    known: dict[str, Any] = {}

    def call(argument: Any) -> Any:
        key = repr(argument)
        if key not in known:
            known[key] = function(argument)
        return known[key]

    return call


class SmallFederation:
    """The sites' data in a folder, and runs over them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.data = {name: small_site(folder / "data", name) for name in LEVELS}
        patch.setattr("client.app.load_site", lambda site, task: self.data[site.name])
        for place in ("client.app.task_from_yaml", "server.rounds.to_yaml", "server.checkpoint.fingerprint"):
            module, _, name = place.rpartition(".")
            patch.setattr(place, remembering(getattr(import_module(module), name)))

    def config(self, method: str, *overrides: str, sites: Sequence[str] = ("MCS", "TUH")) -> RunConfig:
        """A run of two rounds on small pictures, in float32 throughout."""
        fast = [
            f"method={method}", f"imaging.height={ROWS}", "imaging.width=32", "training.batch_size=4",
            "training.precision=fp32", "training.threads=1", "federation.wire_dtype=float32",
            "federation.rounds=2",
        ]  # fmt: skip
        return load_run("tiny", [*fast, f"sites=[{','.join(sites)}]", *overrides])

    def federation(self, folder: Path, config: RunConfig, grid: type[LocalGrid] = LocalGrid) -> Federation:
        """A federation whose sites have their state below ``folder``."""
        nodes = {name: {"site": name, "data": str(folder), "state": str(folder / "sites" / name)} for name in LEVELS}
        model = self.model(config)
        return Federation(
            grid(client_app, nodes), config, folder, trained_names(model, config.method.shared_parameters),
            relative_rates(model, config.training), identity(folder),
        )  # fmt: skip

    def run(self, folder: Path, config: RunConfig, grid: type[LocalGrid] = LocalGrid) -> list[RoundRecord]:
        """Begin a run, or go on with it."""
        return run_rounds(self.federation(folder, config, grid), dict(self.model(config).state_dict()))

    @staticmethod
    def model(config: RunConfig) -> Network:
        """The model of round 0."""
        return initial_model(config)
