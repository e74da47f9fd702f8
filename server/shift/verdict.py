"""Of what kind the shift is, by stated rules, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.protocol import ShiftReport
from server.shift.distances import Distance

INTENSITY, RESPONSE = 0.05, 0.15
SCALE = math.log(1.25)
PREVALENCE = 0.1
MIX = 0.25
FEATURES = 0.5
"""A distance from which on it counts: share of full scale, spreads of the tissue, log-ratio, share of the breasts,
share of images or breasts that would have to change, spreads of the features."""
KINDS = ("appearance", "scale", "prevalence", "structure")
RULES = (
    ("appearance", f"Grey values as stored differ by {INTENSITY:g} of full scale or more, or standardised ones by "
     f"{RESPONSE:g} spreads of the tissue or more (Wasserstein distance)."),
    ("scale", "A pixel of the network's input is 1.25 times as large, or larger."),
    ("prevalence", f"The shares of malignant breasts differ by {PREVALENCE:g} or more, and the 95 % interval of "
     "the difference is off 0."),
    ("structure", f"Projections or densities of {MIX:.0%} of the images or breasts would have to change; or features "
     f"of the model differ by {FEATURES:g} of their spread or more though prepared grey values (less than "
     f"{RESPONSE:g}) and pixel spacing do not."),
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One kind of shift: ``strength`` is the largest distance over its threshold; from 1 on it counts."""

    kind: str
    strength: float
    between: tuple[str, str] | None
    reason: str
    known: bool = True
    """Whether any two sites tell enough to judge."""


@dataclass(frozen=True)
class Recommendation:
    """What to set, and why; ``likely`` names the strongest kind, or ``none``."""

    likely: str
    method: str
    harmonisation: str
    settings: tuple[str, ...]
    reasons: tuple[str, ...]


def strength(kind: str, pair: Distance) -> tuple[float, str]:
    """How strong a kind of shift is between two sites, and what shows it; 0 where nothing is known."""
    match kind:
        case "appearance":
            found = [
                (_over(pair.intensity, INTENSITY), f"stored grey values {_said(pair.intensity)} of full scale apart"),
                (
                    _over(pair.response, RESPONSE),
                    f"grey value curves {_said(pair.response)} spreads of the tissue apart",
                ),
            ]
        case "scale":
            ratio = "" if pair.scale is None else f"{math.exp(pair.scale):.2f}"
            found = [(_over(pair.scale, SCALE), f"a pixel of the input {ratio} times as large")]
        case "prevalence":
            difference = pair.prevalence
            if difference is None or difference.low <= 0.0 <= difference.high:
                return 0.0, ""
            found = [
                (
                    _over(abs(difference.value), PREVALENCE),
                    f"malignant breasts {100 * difference.value:+.0f} points "
                    f"[{100 * difference.low:+.0f}, {100 * difference.high:+.0f}]",
                )
            ]
        case _:
            alike = _over(pair.prepared, RESPONSE) < 1 and _over(pair.scale, SCALE) < 1
            found = [
                (_over(pair.views, MIX), f"{100 * (pair.views or 0):.0f} % of the projections would have to change"),
                (
                    _over(pair.densities, MIX),
                    f"{100 * (pair.densities or 0):.0f} % of the densities would have to change",
                ),
                (
                    _over(pair.features, FEATURES) if alike else 0.0,
                    f"features {_said(pair.features)} spreads apart though grey values are alike",
                ),
            ]
    return max(found, key=lambda item: item[0])


def findings(pairs: Sequence[Distance]) -> list[Finding]:
    """Every kind of shift with its strongest pair, strongest kind first."""
    found = []
    for kind in KINDS:
        best = Finding(kind, 0.0, None, "", any(_known(kind, pair) for pair in pairs))
        for pair in pairs:
            size, reason = strength(kind, pair)
            if size > best.strength:
                best = Finding(kind, size, (pair.first, pair.second), reason)
        found.append(best)
    return sorted(found, key=lambda item: -item.strength)


def recommend(
    found: Sequence[Finding], pairs: Sequence[Distance], told: Mapping[str, ShiftReport], harmonisation: str
) -> Recommendation:
    """What to set for the kinds of shift that count (:data:`RULES`); the reasons are those of docs/methods.md.

    Args:
        found: of :func:`findings`.
        pairs: of :func:`server.shift.distances.distances`.
        told: by site.
        harmonisation: in use now.
    """
    counts = [item for item in found if item.strength >= 1.0]
    kinds = {item.kind for item in counts}
    method, settings, reasons = "fedavg", [], []
    if "appearance" in kinds:
        curves = any(_over(pair.response, RESPONSE) >= 1 for pair in pairs)
        if curves:
            harmonisation = "landmarks"
            reasons.append(
                "Appearance: images are brought to common landmarks, because curves differ and not only gain and "
                "offset. Film and digital look alike afterwards in grey values; not in sharpness and noise."
            )
        else:
            harmonisation = harmonisation if harmonisation != "none" else "percentile"
            reasons.append("Appearance: only gain and offset differ, which every harmonisation but none removes.")
        if "structure" not in kinds:
            method = "silobn"
            reasons.append("What is left of it, statistics of batch norm that stay at the site take up (silobn).")
    if "scale" in kinds:
        known = [report.input_spacing_mm[1] for report in told.values() if report.input_spacing_mm]
        if len(known) == len(told):
            settings.append(f"imaging.spacing_mm={max(known):.2f}")
            reasons.append(
                "Scale: every image is resampled to the coarsest site's spacing, so that a lesion of 1 cm has as many "
                "pixels everywhere."
            )
        else:
            settings.append("training.augmentation.scale=0.25")
            reasons.append("Scale: not every site knows its spacing, so sizes are varied in training instead.")
    if "prevalence" in kinds:
        reasons.append(
            "Prevalence: no row mends it and none needs to; AUC does not depend on it. Thresholds and calibration do: "
            "set them at each site."
        )
    if "structure" in kinds:
        method = "ditto"
        reasons.append(
            "Structure: projections, densities or tissue differ, which no grey value map mends. Each site gets a "
            "personal model beside the common one (ditto): keep whichever measures better there."
        )
    if not counts:
        reasons.append("No distance reaches its threshold: plain averaging, and the harmonisation in use, are enough.")
    return Recommendation(counts[0].kind if counts else "none", method, harmonisation, tuple(settings), tuple(reasons))


def _known(kind: str, pair: Distance) -> bool:
    of_kind: dict[str, tuple[object, ...]] = {
        "appearance": (pair.intensity, pair.response),
        "scale": (pair.scale,),
        "prevalence": (pair.prevalence,),
        "structure": (pair.views, pair.densities, pair.features),
    }
    return any(value is not None for value in of_kind[kind])


def _over(value: float | None, threshold: float) -> float:
    return 0.0 if value is None else value / threshold


def _said(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
