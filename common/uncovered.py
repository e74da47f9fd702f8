"""What patient-level privacy does not cover: said wherever epsilon is said, by sites and coordinator alike."""

from __future__ import annotations

NOT_COVERED = (
    "Metrics: loss, AUC, sensitivity, Brier score, calibration, ROC and FROC on validation and test patients, and the "
    "choice of the published round by them.",
    "The mean training loss, and counts of patients, breasts, images, labels, projections and lesions.",
    "Explanation scores on validation and test patients.",
    "Generalisation gaps: figures by which sites are weighted.",
    "Harmonisation statistics: what a site tells of its images so that those of all sites look alike; and what it "
    "tells of them, and of a model's features, where the shift between sites is asked for.",
    "The number of training patients, which sets the sampling rate and, where it is not given, delta.",
)
"""One sentence each. They leave a site as they are, but for small cells (``policy.minimum_cell``)."""
