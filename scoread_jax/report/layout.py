"""Where the panels of a figure lie, and their common typography.

Every panel is placed in inches, so that pixels stay square and no two texts can meet.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0  # inches
DPI = 120
# Half of the time of the usual level, and a third more bytes.
PNG: dict[str, Any] = {"format": "png", "pil_kwargs": {"compress_level": 3}}
INK, FAINT = "#222222", "#767676"
BACKGROUND, ANOMALY, MARK = "#4477aa", "#cc3311", "#00e5ff"
PEAK_COLOURS = ("#cc3311", "#ee7733", "#aa3377", "#009988", "#222222")
LEFT, RIGHT, HEAD = 0.75, 0.35, 1.45  # inches: margins, and the top of the first panel

Box = tuple[float, float, float, float]  # left, top, width, height in inches from the top left corner


class Layout(NamedTuple):
    """Where the panels of the overview lie."""

    height: float
    scene: Box
    map: Box
    bar: Box
    caption: tuple[float, float, float]  # left, top, width
    charts: list[Box]  # the spectra last


def is_tall(image: NDArray) -> bool:
    """Tell images that stand beside their colour bar and charts, not above them."""
    return image.shape[0] > 4 * image.shape[1]


def bar_box(box: Box, vertical: bool) -> Box:
    """Place the colour bar of an image: to its right when vertical, else under it."""
    left, top, width, height = box
    return (left + width + 0.15, top, 0.14, height) if vertical else (left, top + height + 0.5, width, 0.14)


def overview_layout(rows: int, cols: int, truth: bool) -> Layout:
    """Place images side by side above the charts, stacked when wide, left of the charts when tall."""
    usable = WIDTH - LEFT - RIGHT
    if rows > 4 * cols:
        height = min(9.0, 1.5 * rows / cols)
        width = height * cols / rows
        scene = (LEFT, HEAD, width, height)
        image = (LEFT + max(width, 0.7) + 0.6, HEAD, width, height)
        bar = bar_box(image, vertical=True)
        caption_top = HEAD + height + 0.5
        left = bar[0] + 1.55
        charts, bottom = _chart_boxes(left, HEAD, WIDTH - RIGHT - left, truth)
        return Layout(max(bottom, caption_top + 1.1), scene, image, bar, (LEFT, caption_top, bar[0] - LEFT), charts)
    if cols > 2.5 * rows:
        scene = (LEFT, HEAD, usable, usable * rows / cols)
        caption_top = HEAD + scene[3] + 0.45
        image = (LEFT, caption_top + 0.65, usable, scene[3])
    else:
        cell = (usable - 0.85) / 2
        scale = min(cell / cols, 4.6 / rows)
        scene = (LEFT, HEAD, cols * scale, rows * scale)
        caption_top = HEAD + scene[3] + 0.5
        image = (LEFT + cell + 0.85, HEAD, cols * scale, rows * scale)
        usable = cell
    bar = bar_box(image, vertical=False)
    charts, bottom = _chart_boxes(LEFT, bar[1] + 1.05, WIDTH - LEFT - RIGHT, truth)
    return Layout(bottom, scene, image, bar, (LEFT, caption_top, usable), charts)


def _chart_boxes(left: float, top: float, width: float, truth: bool) -> tuple[list[Box], float]:
    """ROC, precision–recall, separability and spectra, or histogram and spectra; and where they end."""
    gap, line = 0.8, 0.95  # between columns, between rows: room for tick and axis labels and the next title
    if truth and width > 8:
        each, high = (width - 2 * gap) / 3, 2.6
        boxes = [(left + i * (each + gap), top, each, high) for i in range(3)]
    elif truth:
        each, high = (width - gap) / 2, 2.2
        boxes = [(left + i * (each + gap), top, each, high) for i in range(2)]
        top += high + line
        boxes.append((left, top, width, high))
    elif width > 8:
        boxes = [(left, top, 3.0, 2.8), (left + 3.0 + gap, top, width - 3.0 - gap, 2.8)]
        return boxes, top + 2.8 + 1.35
    else:
        boxes, high = [(left, top, width, 2.6)], 2.6
    top += high + line
    boxes.append((left, top, width, 2.8))
    return boxes, top + 2.8 + 1.35


def new_figure(width: float, height: float, title: str, lines: list[str]) -> Figure:
    """Make an empty figure (inches) with its heading and the lines under it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    write(figure, LEFT, 0.25, textwrap.shorten(title, int(7.5 * width), placeholder=" …"), 14, INK, "bold")
    for number, line in enumerate(lines):
        write(figure, LEFT, 0.58 + 0.2 * number, line, 9, FAINT)
    return figure


def write(figure: Figure, left: float, top: float, text: str, size: float, colour: str, weight: str = "normal") -> None:
    """Write text whose top left corner lies so far (inches) from that of the figure."""
    x, y = left / figure.get_figwidth(), 1 - top / figure.get_figheight()
    figure.text(x, y, text, fontsize=size, color=colour, fontweight=weight, va="top", linespacing=1.35)


def add_axes(figure: Figure, box: Box) -> Axes:
    """Add axes at a place in inches."""
    left, top, width, height = box
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def inches(axes: Axes) -> NDArray[np.float64]:
    """Width and height of the axes."""
    return np.multiply(axes.get_position().size, cast("Figure", axes.figure).get_size_inches())


def dress(axes: Axes, title: str = "", x: str = "", y: str = "", grid: bool = False) -> None:
    """Give every axes the same typography."""
    axes.set_title(title, fontsize=10, fontweight="bold", color=INK, loc="left", pad=6)
    axes.set_xlabel(x, fontsize=8.5, color=INK, labelpad=3)
    axes.set_ylabel(y, fontsize=8.5, color=INK, labelpad=3)
    axes.tick_params(labelsize=8, colors=INK, width=0.6, length=3)
    axes.tick_params(which="minor", width=0.4, length=2)
    axes.spines[:].set(linewidth=0.6, color=INK)
    if grid:
        axes.set_axisbelow(True)
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)


def score_ticks(low: float, high: float) -> dict[str, Any]:
    """Return the ticks of a logarithmic axis, labelled in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    every = (1, 2, 5) if high < 1000 * low else (1,)
    return {"ticks": LogLocator(subs=every), "format": FuncFormatter(lambda value, _: f"{value:g}")}
