"""Which detections hit which lesions: the hit rule, and each detection and each lesion used once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from common.metrics.explanation import HasBounds

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def corners(boxes: Sequence[HasBounds]) -> Floats:
    """Boxes as ``(N, 4)``: x0, y0, x1, y1."""
    return np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], dtype=np.float64).reshape(-1, 4)


def hits(detected: Floats, lesions: Floats, rule: str, overlap: float) -> Bools:
    """Which detections may count as having found which lesions of their image.

    Args:
        detected: ``(D, 4)``: x0, y0, x1, y1, in the lesions' pixels.
        lesions: ``(L, 4)``.
        rule: ``iou``: intersection over union of at least ``overlap``. ``centre``: the detection's centre lies in the
            lesion's box, its edges included; ``overlap`` is not read.
        overlap: above 0 to 1.

    Returns:
        ``(D, L)``.

    Raises:
        ValueError: unknown rule.
    """
    match rule:
        case "iou":
            return intersection_over_union(detected, lesions) >= overlap
        case "centre":
            middle = (detected[:, None, :2] + detected[:, None, 2:]) / 2
            return np.asarray(((middle >= lesions[:, :2]) & (middle <= lesions[:, 2:])).all(axis=2))
    raise ValueError(f"unknown hit rule '{rule}'")


def intersection_over_union(first: Floats, second: Floats) -> Floats:
    """Overlap ``(N, M)`` of boxes ``(N, 4)`` and ``(M, 4)``, 0 to 1; 0 where a box has no area."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    common = np.maximum(high - low, 0.0).prod(axis=2)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0.0))


def true_positives(scores: Floats, found: Bools) -> Bools:
    """Which detections of an image are true positives; the others are false ones.

    Down to any score, as many lesions count as found as can be paired with detections of that score or more, each
    detection and each lesion once: a maximum matching. It grows with every detection by one lesion or by none, so
    that one walk from the highest score gives all thresholds, whatever the order of equal scores. A second detection
    of a lesion that the first has used is a false positive.

    Args:
        scores: ``(D,)``.
        found: ``(D, L)``, from :func:`hits`.

    Returns:
        ``(D,)``.

    Source: augmenting paths, Kuhn 1955; Edmonds & Fulkerson 1965 on why greedy growth stays maximal.
    """
    result = np.zeros(len(scores), dtype=np.bool_)
    owner = np.full(found.shape[1], -1, dtype=np.int64)
    for detection in np.argsort(-scores, kind="stable"):
        result[detection] = _pair(int(detection), found, owner)
    return result


def _pair(newcomer: int, found: Bools, owner: npt.NDArray[np.int64]) -> bool:
    """Find a detection a lesion, where need be by moving earlier ones to others; ``owner`` changes on success only."""
    reached_by: dict[int, int] = {}
    had: dict[int, int] = {}
    waiting = deque([newcomer])
    while waiting:
        detection = waiting.popleft()
        for lesion in np.flatnonzero(found[detection]).tolist():
            if lesion in reached_by:
                continue
            reached_by[lesion] = detection
            holder = int(owner[lesion])
            if holder >= 0:
                had[holder] = lesion
                waiting.append(holder)
                continue
            while True:  # hand lesions on, back along the way that led here
                detection = owner[lesion] = reached_by[lesion]
                if detection == newcomer:
                    return True
                lesion = had[detection]
    return False
