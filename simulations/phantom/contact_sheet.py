"""Contact sheets of the phantom for the eye: sites × classes with boxes, and lesions ordered by malignancy.

``python -m simulations.phantom.contact_sheet docs/images`` writes both.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from simulations.phantom.difficulty import DEFAULT
from simulations.phantom.patient import VIEWS, Patient, ViewName, draw_patient
from simulations.phantom.render import View, render_view
from simulations.phantom.sites import SITES, SiteProfile, acquisition_at
from simulations.phantom.vendor import decode

_COLOURS = {"normal": (255, 255, 255), "benign": (90, 220, 120), "malignant": (255, 90, 80)}
_ROWS = 512
_HEIGHT = 300
_CLOSE_UP_MM = 60.0
_TITLE = 16


def brightness(picture: View) -> NDArray[np.uint8]:
    """A view as a viewer would show it, uint8: full display range, raw data windowed to the breast."""
    image = decode(picture.stored, picture.acquisition)
    if picture.acquisition.intent == "FOR PROCESSING":
        low, high = np.quantile(image[picture.breast], (0.001, 0.9995))
    else:
        acquisition = picture.acquisition
        full = 2**acquisition.bits - 1
        low = acquisition.offset / full
        if acquisition.photometric == "MONOCHROME1":
            low = 1 - low - acquisition.span
        high = low + acquisition.span
    shown: NDArray[np.uint8] = (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return shown


def sites_sheet(dataset_seed: int = 0) -> Image.Image:
    """One row per site: CC and MLO of a normal, a benign and a malignant breast, masses boxed."""
    rows = []
    for site in SITES.values():
        tiles = []
        for label in _COLOURS:
            patient = next(p for p in _patients(site, dataset_seed) if p.label == label and _typical(p))
            tiles += [_boxed(patient, view) for view in VIEWS]
        rows.append(_beside(tiles, f"{site.name}: normal, benign (green), malignant (red); CC and MLO"))
    return _below(rows)


def lesions_sheet(dataset_seed: int = 0, columns: int = 7) -> Image.Image:
    """Close-ups of 60 mm, one row per site, from the most benign (left) to the most malignant mass (right)."""
    rows = []
    for site in SITES.values():
        with_mass = [p for p in _patients(site, dataset_seed, 80) if p.mass is not None]
        with_mass.sort(key=lambda p: p.mass.z if p.mass is not None else 0.0)
        chosen = [with_mass[round(i)] for i in np.linspace(0, len(with_mass) - 1, columns)]
        rows.append(_beside([_close_up(patient) for patient in chosen], f"{site.name}: masses by malignancy z"))
    return _below(rows)


def _patients(site: SiteProfile, dataset_seed: int, number: int = 200) -> Iterator[Patient]:
    return (draw_patient(site, index, dataset_seed, DEFAULT) for index in range(number))


def _typical(patient: Patient) -> bool:
    return patient.density in "BC" and (patient.mass is None or patient.mass.visibility == 1.0)


def _boxed(patient: Patient, view: ViewName) -> Image.Image:
    picture = render_view(patient, view, acquisition_at(patient.site, 1.0), rows=_ROWS)
    image = Image.fromarray(brightness(picture)).convert("RGB")
    if picture.box is not None:
        x0, y0, x1, y1 = picture.box
        ImageDraw.Draw(image).rectangle((x0 - 6, y0 - 6, x1 + 5, y1 + 5), outline=_COLOURS[patient.label], width=2)
    return image.resize((_HEIGHT * 3 // 4, _HEIGHT), Image.Resampling.LANCZOS)


def _close_up(patient: Patient) -> Image.Image:
    picture = render_view(patient, "CC", acquisition_at(patient.site, 1.0), rows=2 * _ROWS)
    if picture.box is None:
        raise ValueError(f"{patient.identifier} has no mass to show")
    x0, y0, x1, y1 = picture.box
    half = round(_CLOSE_UP_MM / 2 / picture.spacing_mm)
    centre_x, centre_y = (x0 + x1) // 2, (y0 + y1) // 2
    image = Image.fromarray(brightness(picture))
    crop = image.crop((centre_x - half, centre_y - half, centre_x + half, centre_y + half)).convert("RGB")
    crop = crop.resize((168, 168), Image.Resampling.LANCZOS)
    z = patient.mass.z if patient.mass is not None else 0.0
    ImageDraw.Draw(crop).text((4, 2), f"z {z:+.1f}", fill=_COLOURS[patient.label], font=ImageFont.load_default(12))
    return crop


def _beside(tiles: list[Image.Image], title: str) -> Image.Image:
    sheet = Image.new("RGB", (sum(t.width for t in tiles), tiles[0].height + _TITLE))
    ImageDraw.Draw(sheet).text((4, 1), title, fill=(230, 230, 230), font=ImageFont.load_default(12))
    x = 0
    for tile in tiles:
        sheet.paste(tile, (x, _TITLE))
        x += tile.width
    return sheet


def _below(rows: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (rows[0].width, sum(r.height for r in rows)))
    y = 0
    for row in rows:
        sheet.paste(row, (0, y))
        y += row.height
    return sheet


def main() -> None:
    """Write both sheets into a folder."""
    parser = argparse.ArgumentParser(description="Contact sheets of the phantom")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in (("sites", sites_sheet(args.seed)), ("lesions", lesions_sheet(args.seed))):
        # 61 greys and the colours of the boxes: a third of the size of full colour.
        palette = Image.new("P", (1, 1))
        greys = [value for level in range(61) for value in [round(level * 255 / 60)] * 3]
        palette.putpalette(greys + [value for colour in _COLOURS.values() for value in colour])
        small = sheet.quantize(palette=palette, dither=Image.Dither.NONE)
        small.save(args.folder / f"phantom-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
