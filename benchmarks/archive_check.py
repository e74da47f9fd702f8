"""A day's archive: seconds and memory of ``xai-client check`` on very many images, stopped half-way and started again.

Run from the repository's root: ``python benchmarks/archive_check.py [IMAGES]`` (20,000 by default)
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.common.imaging.mammograms import dicom, drawn_breast

COLUMNS = ("patient_id", "exam_id", "laterality", "view", "file", "label", "boxes", "split")
PICTURES = 64
"""Different pictures; each file adds its own noise to one of them, so that no two are the same."""


def write_archive(folder: Path, images: int) -> None:
    """Four views a patient, every tenth patient malignant on the left."""
    random = np.random.default_rng(0)
    pictures = [drawn_breast(120, 90, 50, 45, seed) for seed in range(PICTURES)]
    rows = []
    for number in range(images):
        patient, place = divmod(number, 4)
        side, view = "LLRR"[place], ("CC", "MLO")[place % 2]
        pixels = pictures[number % PICTURES] + random.normal(0, 0.005, (120, 90))
        pixels = pixels if side == "L" else pixels[:, ::-1]
        stored = np.round(np.clip(pixels, 0, 1) * 4095).astype(np.uint16)
        name = f"{patient % 100:02d}/{number:06d}.dcm"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tags = {"PatientID": f"P{patient:05d}", "ImageLaterality": side, "ViewPosition": view, "Manufacturer": "Maker"}
        dicom(stored, ImagerPixelSpacing=["1.5", "1.5"], **tags).save_as(folder / name, enforce_file_format=True)
        label = "malignant" if patient % 10 == 0 and side == "L" else "normal"
        rows.append((f"P{patient:05d}", "", side, view, name, label, "", ""))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])


def command(data: Path, state: Path) -> list[str]:
    """The check as a user calls it."""
    start = "from client.cli import main; main()"
    site = ["--site", "BIG", "--state", str(state)]
    settings = ["imaging.height=64", "imaging.width=48", "model.backbone=resnet8"]
    return [sys.executable, "-c", start, *site, "check", "--data", str(data), *settings]


@dataclass(frozen=True)
class Watched:
    """One run: seconds, peak memory in bytes of the whole process group, exit code."""

    seconds: float
    peak: int
    code: int

    def row(self, name: str, images: int) -> str:
        """Of the table."""
        rate = images / self.seconds
        return f"| {name} | {images} | {self.seconds:.0f} | {rate:.0f} | {self.peak / 1e9:.2f} | {self.code} |"


def watched(arguments: list[str], stop_after: float | None) -> Watched:
    """Run a command; kill it after a time if asked for."""
    begun = time.monotonic()
    process = subprocess.Popen(arguments, start_new_session=True, stdout=sys.stderr)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(_memory(pid) for pid in _group(process.pid)))
            if stop_after is not None and time.monotonic() - begun > stop_after:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    watcher.join()
    return Watched(time.monotonic() - begun, peak, code)


def _group(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == leader:
                found.append(int(path.name))
        except (ProcessLookupError, PermissionError):
            continue
    return found


def _memory(pid: int) -> int:
    """Proportional share of memory: pages shared by several processes count once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    """Print one row a run."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    folder = Path(tempfile.mkdtemp())
    try:
        write_archive(folder / "data", images)
        print("| run | images prepared | seconds | images/s | peak memory, GB | exit code |\n|---|---|---|---|---|---|")
        whole = watched(command(folder / "data", folder / "whole"), None)
        print(whole.row("whole", images), flush=True)
        half = watched(command(folder / "data", folder / "parts"), whole.seconds / 2)
        done = sum(1 for _ in (folder / "parts/cache").glob("??/*.npy"))
        print(half.row("killed half-way", done), flush=True)
        again = watched(command(folder / "data", folder / "parts"), None)
        print(again.row("started again", images - done), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
