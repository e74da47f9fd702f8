"""What sites are compared by: the grids and words of a :class:`common.protocol.ShiftReport`."""

from __future__ import annotations

LEVELS = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
"""Of the quantiles of grey values."""
SPACINGS = (0.1, 0.5, 0.9)
"""Of the quantiles of pixel spacing."""
DENSITIES = ("A", "B", "C", "D")
"""BI-RADS."""
VIEWS = frozenset({"CC", "MLO", "ML", "LM", "LMO", "AT", "FB", "SIO", "XCC", "XCCL", "XCCM", "CV", "TAN"})
"""Names of views that may leave the site (DICOM PS3.3 C.8.11.4); free text in the manifest becomes ``OTHER``."""
