"""The leak tests of PHANTOM §7: what a picture may not tell except through the lesion's own structure.

``python -m simulations.phantom.nulls`` prints the table of docs/phantom.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, zoom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from simulations.phantom.difficulty import DEFAULT, Difficulty
from simulations.phantom.frame import Field
from simulations.phantom.patient import VIEWS, Patient, draw_patient
from simulations.phantom.render import View, render_view
from simulations.phantom.sites import SITES, SiteProfile, acquisition_at
from simulations.phantom.vendor import decode

_QUANTILES = np.linspace(0.02, 0.995, 24)
_HALO_MM = 12.0


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve with its 95 % interval (Hanley & McNeil 1982) and the number of breasts."""

    value: float
    low: float
    high: float
    breasts: int


@dataclass(frozen=True)
class Measured:
    """What the tests need of one breast: class, both feature vectors, where the brightest spot fell per lesion view."""

    malignant: bool
    histogram: Field
    erased: Field
    brightest_in_box: tuple[bool, ...]


def background_shift(patient: Patient, *, rows: int = 384, severity: float = 1.0) -> list[float]:
    """(a) Mean |change| of the breast outside lesion and halo when the lesion is erased, per view, of full scale."""
    acquisition = acquisition_at(patient.site, severity)
    shifts = []
    for view in VIEWS:
        with_lesion = render_view(patient, view, acquisition, rows=rows)
        twin = render_view(patient, view, acquisition, rows=rows, erase_lesion=True)
        halo = round(_HALO_MM / with_lesion.spacing_mm)
        near = binary_dilation(with_lesion.support, iterations=halo)
        background = with_lesion.breast & ~near
        change = decode(with_lesion.stored, acquisition) - decode(twin.stored, acquisition)
        shifts.append(float(np.abs(change[background]).mean()))
    return shifts


def brightest_in_box(picture: View, sigma_mm: float = 1.5) -> bool:
    """(d) Whether the brightest spot of the breast (decoded, blurred by σ = 1.5 mm) lies in the lesion's box."""
    if picture.box is None:
        return False
    smooth = gaussian_filter(decode(picture.stored, picture.acquisition), sigma_mm / picture.spacing_mm)
    smooth[~picture.breast] = -1.0
    row, column = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    x0, y0, x1, y1 = picture.box
    return bool(x0 <= column < x1 and y0 <= row < y1)


def measure(
    site: SiteProfile, dataset_seed: int, difficulty: Difficulty, rows: int, severity: float, index: int
) -> Measured:
    """Render breast ``index`` of a site with and without its lesion and keep the features of tests (b), (c), (d)."""
    patient = draw_patient(site, index, dataset_seed, difficulty)
    acquisition = acquisition_at(site, severity)
    histogram, erased, hits = [], [], []
    for view in VIEWS:
        picture = render_view(patient, view, acquisition, rows=rows, difficulty=difficulty)
        histogram.append(histogram_features(picture))
        twin = picture
        if patient.mass is not None:
            hits.append(brightest_in_box(picture))
            twin = render_view(patient, view, acquisition, rows=rows, difficulty=difficulty, erase_lesion=True)
        erased.append(np.concatenate([histogram_features(twin), thumbnail(twin, patient)]))
    return Measured(patient.label == "malignant", np.concatenate(histogram), np.concatenate(erased), tuple(hits))


def _classifier() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))


def histogram_features(picture: View) -> Field:
    """Quantiles of the decoded breast, float32 (24,)."""
    values = decode(picture.stored, picture.acquisition)[picture.breast]
    return np.quantile(values, _QUANTILES).astype(np.float32)


def thumbnail(picture: View, patient: Patient) -> Field:
    """The decoded picture at 16 × 12 pixels, chest wall to the left, flattened float32 (192,)."""
    image = decode(picture.stored, picture.acquisition) * picture.breast
    if patient.laterality == "R":
        image = image[:, ::-1]
    rows, columns = image.shape
    small: Field = zoom(gaussian_filter(image, rows / 40), (16 / rows, 12 / columns), order=1).astype(np.float32)
    return small.ravel()


def cross_validated_auc(features: Field, malignant: NDArray[np.bool_], seed: int = 0) -> Auc:
    """AUC of an L2 logistic regression, malignant against the rest, 5-fold; features float32 (breasts, n)."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    score = cross_val_predict(_classifier(), features, malignant, cv=folds, method="decision_function")
    return auc_with_interval(score, malignant)


def held_out_auc(features: Field, malignant: NDArray[np.bool_]) -> Auc:
    """AUC on the second half of the breasts of the same model fitted to the first half.

    Unlike cross-validation, whose folds depend on each other, this makes the Hanley-McNeil interval exact enough to
    test AUC = 0.5 with.
    """
    half = len(malignant) // 2
    model = _classifier().fit(features[:half], malignant[:half])
    return auc_with_interval(model.decision_function(features[half:]), malignant[half:])


def auc_with_interval(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> Auc:
    """AUC with the Hanley-McNeil 95 % interval."""
    value = float(roc_auc_score(positive, score))
    n1, n0 = int(positive.sum()), int((~positive).sum())
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (value * (1 - value) + (n1 - 1) * (q1 - value**2) + (n0 - 1) * (q2 - value**2)) / (n1 * n0)
    half = 1.96 * float(np.sqrt(variance))
    return Auc(value, value - half, value + half, n1 + n0)


def measure_site(
    site: SiteProfile,
    breasts: int,
    *,
    dataset_seed: int = 0,
    difficulty: Difficulty = DEFAULT,
    rows: int = 256,
    severity: float = 1.0,
    workers: int = 1,
) -> list[Measured]:
    """:func:`measure` of breasts 0..n−1 of a site, in ``workers`` processes."""
    one = partial(measure, site, dataset_seed, difficulty, rows, severity)
    return list(_map(one, range(breasts), workers))


def _map(one: partial[Measured], indices: Iterable[int], workers: int) -> Iterator[Measured]:
    if workers == 1:
        yield from map(one, indices)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), threadpool_limits, (1,)) as pool:
        yield from pool.map(one, indices, chunksize=8)


def summarise(measured: list[Measured]) -> tuple[Auc, Auc, float]:
    """Erased-lesion AUC (b), histogram AUC (c) and share of lesion views whose brightest spot is the lesion (d)."""
    malignant = np.array([m.malignant for m in measured])
    erased = held_out_auc(np.stack([m.erased for m in measured]), malignant)
    histogram = cross_validated_auc(np.stack([m.histogram for m in measured]), malignant)
    hits = [hit for m in measured for hit in m.brightest_in_box]
    return erased, histogram, float(np.mean(hits))


def main() -> None:
    """Print the four tests for every site."""
    parser = argparse.ArgumentParser(description="Leak tests of the phantom (PHANTOM §7)")
    parser.add_argument("--breasts", type=int, default=1200, help="rendered; half of them test the erased null")
    parser.add_argument("--twins", type=int, default=30, help="breasts with a lesion for the twin test")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sites", default=",".join(SITES))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    print("| site | twin shift, mean (worst) | erased-lesion AUC | histogram AUC | brightest spot in box |")
    print("|---|---|---|---|---|")
    for name in args.sites.split(","):
        site = SITES[name]
        patients = (draw_patient(site, i, args.seed, DEFAULT) for i in range(10 * args.twins))
        with_mass = [p for p in patients if p.mass is not None][: args.twins]
        shifts = [shift for p in with_mass for shift in background_shift(p, rows=args.rows)]
        measured = measure_site(site, args.breasts, dataset_seed=args.seed, rows=args.rows, workers=args.workers)
        erased, histogram, bright = summarise(measured)
        print(
            f"| {name} | {np.mean(shifts):.4%} ({max(shifts):.4%}) | "
            f"{erased.value:.3f} [{erased.low:.3f}, {erased.high:.3f}] | "
            f"{histogram.value:.3f} [{histogram.low:.3f}, {histogram.high:.3f}] | {bright:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
