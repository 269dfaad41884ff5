"""Matplotlib figures as SVG inside a page: no network, the page's own colours, the same bytes each time.

A colour of the palette is written as a CSS variable, so that a page can show the figure on light and on dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatestack.tasks.forecast.plot import HISTORY_COLOUR, MODEL_COLOUR

__all__ = [
    "ACCENT",
    "GRID",
    "INK",
    "MODEL",
    "MUTED",
    "TRUTH",
    "Picture",
    "image_of",
    "inline_svg",
    "new_axes",
    "plain",
    "report_style",
]

INK, GRID, MUTED, ACCENT = "#1f2430", "#d9dce3", "#687080", "#b4540a"
TRUTH, MODEL = HISTORY_COLOUR, MODEL_COLOUR
_VARIABLES = {INK: "ink", GRID: "grid", MUTED: "muted", ACCENT: "accent", TRUTH: "truth", MODEL: "model"}

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "gatestack",
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        svg: ready to stand in HTML.
        caption: what it shows.
    """

    svg: str
    caption: str


def new_axes(*, rows: int = 1, height: float = 2.9, width: float = 5.4) -> tuple[Figure, list[Axes]]:
    """Make a figure with `rows` axes below each other, in inches, in the style of the report."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, 1, squeeze=False)[:, 0])


@contextmanager
def report_style() -> Iterator[None]:
    """Draw in the style of the report: all drawing belongs in the block, as Matplotlib reads it late."""
    with mpl.rc_context(_STYLE):
        yield


def plain(text: object) -> str:
    """Make a user's text fit for a figure: one line of at most 40 characters, nothing that cannot be printed.

    Example:
        >>> plain("price in $")
        'price in $'
    """
    line = "".join(character if character.isprintable() else " " for character in str(text))
    return line if len(line) <= 40 else line[:39] + "…"


def inline_svg(figure: Figure, *, name: str, label: str) -> str:
    """Draw a figure as SVG for the inside of a page.

    Args:
        figure: to draw.
        name: unique in the page; keeps the figure's internal names apart from those of others.
        label: what the picture shows, for who cannot see it.

    Returns:
        An `<svg>` element that is as wide as its place.
    """
    text = _draw(figure, "svg", {"svg.fonttype": "none"}).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    # Inside HTML an SVG needs no namespaces, and so the page holds no address at all.
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    opening = re.match(r"<svg[^>]*>", text)
    box = re.search(r'viewBox="[^"]+"', text)
    if opening is None or box is None:
        raise RuntimeError("Matplotlib wrote an SVG without a viewBox")
    # The text's own font is named by the page.
    text = text.replace("'DejaVu Sans'", "system-ui")
    return f'<svg {box[0]} role="img" aria-label="{escape(label)}">' + text[opening.end() :]


def image_of(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """Draw a figure as a file of its own, on white."""
    return _draw(figure, kind, {"svg.fonttype": "path", "savefig.facecolor": "white"})


def _draw(figure: Figure, kind: str, style: dict[str, str]) -> bytes:
    target = io.BytesIO()
    # No date, so that the same model gives the same bytes.
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context(cast(Any, style)):
        figure.savefig(target, format=kind, metadata=metadata, dpi=130)
    return target.getvalue()
