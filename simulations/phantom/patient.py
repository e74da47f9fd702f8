"""Who is imaged: density, size, thickness, class, the lesion and the look-alikes, all drawn before any picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulations.phantom.difficulty import Difficulty
from simulations.phantom.randomness import Purpose, generator
from simulations.phantom.sites import SiteProfile

Label = Literal["normal", "benign", "malignant"]
Laterality = Literal["L", "R"]
ViewName = Literal["CC", "MLO"]
VIEWS: tuple[ViewName, ViewName] = ("CC", "MLO")

_AREA_DENSITY = {"A": (0.04, 0.18), "B": (0.18, 0.40), "C": (0.40, 0.65), "D": (0.65, 0.85)}
_NIPPLE_DISTANCE = {"A": 104.0, "B": 96.0, "C": 86.0, "D": 78.0}
_MEAN_AGE = {"A": 66.0, "B": 61.0, "C": 54.0, "D": 49.0}


@dataclass(frozen=True)
class Place:
    """Position in the breast: depth as a fraction of the nipple distance, lateral and vertical in −1..1."""

    depth: float
    lateral: float
    vertical: float


@dataclass(frozen=True)
class Mass:
    """A mass; ``z`` is its latent malignancy, radius in mm, ``visibility`` scales its contrast."""

    place: Place
    radius_mm: float
    z: float
    axis_ratio: float
    visibility: float


@dataclass(frozen=True)
class Patient:
    """One simulated woman and her imaged breast; ``recorded`` is the label with the site's label noise."""

    site: SiteProfile
    dataset_seed: int
    index: int
    laterality: Laterality
    label: Label
    recorded: Label
    density: str
    area_density: float
    nipple_distance_mm: float
    thickness_mm: float
    age: int
    mass: Mass | None

    @property
    def identifier(self) -> str:
        """Patient id as in the manifest."""
        return f"{self.site.name}-{self.index:06d}"

    def rng(self, purpose: Purpose, view: ViewName | None = None) -> np.random.Generator:
        """This patient's stream of random numbers for a purpose, of one view or of the breast."""
        side = 0 if self.laterality == "L" else 1
        if view is None:
            return generator(self.dataset_seed, self.site.site_id, self.index, purpose, side)
        return generator(self.dataset_seed, self.site.site_id, self.index, purpose, side, VIEWS.index(view))


def draw_patient(site: SiteProfile, index: int, dataset_seed: int, difficulty: Difficulty) -> Patient:
    """Patient number ``index`` of a site; depends on nothing but the arguments."""
    population = site.population
    rng = generator(dataset_seed, site.site_id, index, Purpose.PATIENT)
    density = str(rng.choice(list("ABCD"), p=population.density))
    area_density = float(rng.uniform(*_AREA_DENSITY[density]))
    nipple = float(np.clip(rng.normal(_NIPPLE_DISTANCE[density], 14), 55, 135))
    thickness = float(np.clip(rng.normal(*population.thickness_mm) + 0.25 * (nipple - 92), 25, 90))
    age = int(np.clip(rng.normal(_MEAN_AGE[density], 9), 35, 89))
    laterality: Laterality = "L" if rng.random() < 0.5 else "R"
    draw = rng.random()
    malignant = population.malignant
    label: Label = "malignant" if draw < malignant else "benign" if draw < malignant + population.benign else "normal"
    mass = None if label == "normal" else _draw_mass(site, index, dataset_seed, label, difficulty)
    noise = generator(dataset_seed, site.site_id, index, Purpose.LABEL_NOISE).random()
    recorded: Label = label
    if label == "malignant" and noise < population.false_negative:
        recorded = "benign"
    elif label != "malignant" and noise < population.false_positive:
        recorded = "malignant"
    return Patient(
        site, dataset_seed, index, laterality, label, recorded, density, area_density, nipple, thickness, age, mass
    )


def draw_place(rng: np.random.Generator) -> Place:
    """Uniform place inside the breast, away from nipple and chest wall."""
    return Place(float(rng.uniform(0.28, 0.80)), float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)))


def _draw_mass(site: SiteProfile, index: int, dataset_seed: int, label: Label, difficulty: Difficulty) -> Mass:
    rng = generator(dataset_seed, site.site_id, index, Purpose.LESION)
    place = draw_place(rng)
    median = site.population.lesion_radius_mm * difficulty.radius_scale
    radius = float(np.clip(median * np.exp(difficulty.radius_spread * rng.standard_normal()), 3.0, 16.0))
    z = float(rng.normal(difficulty.d_prime / 2 * (1 if label == "malignant" else -1), 1.0))
    ratio = float(rng.uniform(0.62, 0.98))
    visibility = difficulty.faint_visibility if rng.random() < difficulty.faint_share else 1.0
    return Mass(place, radius, z, ratio, visibility)
