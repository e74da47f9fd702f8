"""The style sheet of every page."""

from __future__ import annotations

from importlib import resources


def style_sheet() -> str:
    """CSS for light and dark screens and for print."""
    return (resources.files("common.page") / "page.css").read_text(encoding="utf-8")
