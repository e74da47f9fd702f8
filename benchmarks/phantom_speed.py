"""Milliseconds of CPU per phantom view on one core, and seconds at the detector's own matrix.

Run from the repository's root: ``python benchmarks/phantom_speed.py``
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulations.phantom.difficulty import DEFAULT
from simulations.phantom.patient import VIEWS, draw_patient
from simulations.phantom.render import render_view
from simulations.phantom.sites import SITES, acquisition_at, native_rows


def cpu_seconds(name: str, rows: int, patients: int) -> list[float]:
    """CPU seconds of each view of a site's first patients, after one view to warm the caches."""
    site = SITES[name]
    acquisition = acquisition_at(site, 1.0)
    seconds = []
    for index in range(patients):
        patient = draw_patient(site, index, 0, DEFAULT)
        for view in VIEWS:
            start = time.process_time()
            render_view(patient, view, acquisition, rows=rows)
            seconds.append(time.process_time() - start)
    return seconds


def main() -> None:
    """Print one row per site."""
    print("| site | 512 by 384, ms a view (median, 90 %) | native matrix | s a view |")
    print("|---|---|---|---|")
    with threadpool_limits(1):
        cpu_seconds("MCS", 512, 4)
        for name, site in SITES.items():
            small = [1e3 * s for s in cpu_seconds(name, 512, 15)]
            rows = native_rows(site.acquisition)
            native = statistics.mean(cpu_seconds(name, rows, 1))
            slow = statistics.quantiles(small, n=10)[-1]
            print(f"| {name} | {statistics.median(small):.0f}, {slow:.0f} | {rows} by {rows * 3 // 4} | {native:.1f} |")


if __name__ == "__main__":
    main()
