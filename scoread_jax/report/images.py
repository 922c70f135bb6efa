"""The panels that show a scene pixel by pixel: false colour, the anomaly map, and the marks on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from scoread_jax.colours import COLOUR_MAP, MASKED, colour_scale
from scoread_jax.cube import planes
from scoread_jax.report.layout import DPI, MARK, dress, inches, is_tall, score_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from scoread_jax.scene import Scene


def false_colour(scene: Scene) -> tuple[NDArray[np.float64], str]:
    """Return a red–green–blue composite [rows, cols, 3] in [0, 1], masked pixels grey, and a caption.

    The bands nearest to 650, 550 and 450 nm, or, when the wavelengths are unknown or do not cover them, three
    good bands at 5/6, 1/2 and 1/6 of the range; each stretched from its 2nd to its 98th percentile.
    """
    from matplotlib.colors import to_rgb

    good = np.flatnonzero(scene.good_bands)
    chosen = good[[len(good) * sixth // 6 for sixth in (5, 3, 1)]]
    caption = f"False colour: bands {chosen[0]}, {chosen[1]}, {chosen[2]}."
    if scene.wavelengths is not None:
        distance = np.abs(np.asarray(scene.wavelengths)[good] - np.array([[650.0], [550.0], [450.0]]))
        if distance.min(axis=1).max() < 50:  # NaN fails, too
            chosen = good[distance.argmin(axis=1)]
            nanometres = " / ".join(f"{scene.wavelengths[band]:.0f}" for band in chosen)
            caption = f"Colour: {nanometres} nm."
    composite = np.empty((*scene.valid.shape, 3))
    composite[...] = to_rgb(MASKED)
    values = planes(scene.cube, chosen)[scene.valid].astype(np.float64)
    if values.size:
        low, high = np.percentile(values, (2, 98), axis=0)
        composite[scene.valid] = np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1)
    return composite, caption


def find_peaks(anomaly_map: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the rows and columns [n ≤ count, 2] of the highest scores, best first.

    Two peaks are more than 4 % of the longer side (at least 2 pixels) apart; a constant map has none.
    """
    rest = np.where(np.isnan(anomaly_map), -np.inf, anomaly_map)
    lowest = np.nanmin(anomaly_map, initial=np.inf)
    apart = max(2, round(0.04 * max(rest.shape)))
    peaks: list[tuple[int, int]] = []
    while len(peaks) < count:
        row, col = (int(i) for i in np.unravel_index(np.argmax(rest), rest.shape))
        if not rest[row, col] > lowest:
            break
        peaks.append((row, col))
        rest[max(row - apart, 0) : row + apart + 1, max(col - apart, 0) : col + apart + 1] = -np.inf
    return np.array(peaks, dtype=np.intp).reshape(-1, 2)


def draw_outline(axes: Axes, region: NDArray[np.bool_], colour: str = MARK) -> int:
    """Outline a region; return by how many pixels it was widened so that small ones show."""
    from matplotlib.collections import LineCollection
    from scipy.ndimage import maximum_filter

    pixel = inches(axes)[0] * 72 / region.shape[1]  # points
    wider = int(np.ceil(2.5 / pixel)) if pixel < 5 else 0
    widened = np.asarray(maximum_filter(region, 2 * wider + 1, mode="constant"), dtype=bool)
    axes.add_collection(LineCollection(list(_outline(widened)), colors=colour, linewidths=1.0, path_effects=_halo()))
    return wider


def draw_peaks(axes: Axes, peaks: NDArray[np.intp], rows: int, cols: int) -> None:
    """Circle and number the peaks, best first."""
    mark: dict[str, Any] = {"path_effects": _halo()}
    axes.scatter(peaks[:, 1], peaks[:, 0], s=110, facecolors="none", edgecolors=MARK, **mark)
    mark |= {"color": MARK, "fontsize": 8, "textcoords": "offset points"}
    for number, (row, col) in enumerate(peaks, start=1):
        x, ha = (7, "left") if col < cols / 2 else (-7, "right")  # inwards: no number leaves the image
        y, va = (-7, "top") if row < rows / 2 else (7, "bottom")
        axes.annotate(str(number), (col, row), xytext=(x, y), ha=ha, va=va, **mark)


def draw_map(
    axes: Axes,
    bar: Axes,
    scores: NDArray,
    title: str,
    scale: tuple[Normalize, str] | None = None,
    quantity: str = "anomaly score",
) -> None:
    """Draw the map, by the maxima of blocks when it has more pixels than the panel, and its colour bar.

    Args:
        axes: of the map.
        bar: of its colour bar.
        scores: [rows, cols], NaN = masked.
        title: of the panel.
        scale: how scores become colours, and that in words; ``colour_scale`` where None.
        quantity: what the scores are.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    step = image_step(axes, scores)
    blocks = block_maxima(scores, step)
    norm, words = scale or colour_scale(scores)
    tall = is_tall(scores)
    if step > 1:  # a lone anomalous pixel must not fall between two pixels of the figure
        note = f"maxima of {step} × {step}"
        title, words = (title, f"{words}; {note}") if tall else (f"{title} ({note})".strip(), words)
    colours = colormaps[COLOUR_MAP].with_extremes(bad=MASKED)
    image = show_image(axes, blocks, step, scores.shape, title, cmap=colours, norm=norm)
    low, high = cast(float, norm.vmin), cast(float, norm.vmax)
    beyond = bool(np.nanmin(scores, initial=low) < low), bool(np.nanmax(scores, initial=high) > high)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
    ticks = score_ticks(low, high) if isinstance(norm, LogNorm) else {}
    colour_bar = cast(Any, axes.figure).colorbar(
        image,
        cax=bar,
        orientation="vertical" if tall else "horizontal",
        extend=extend,
        extendfrac=0.12 / max(inches(bar)),
        **ticks,
    )
    colour_bar.minorticks_off()
    colour_bar.outline.set_linewidth(0.6)
    words = f"{quantity} ({words})"
    dress(bar, "", *(("", words) if tall else (words, "")))
    if not tall:
        bar.xaxis.label.set(x=0, ha="left")


def block_maxima(scores: NDArray, step: int) -> NDArray:
    """Maxima of blocks of ``step`` × ``step`` pixels; NaN where all of a block is."""
    blocks = np.fmax.reduceat(scores, np.arange(0, scores.shape[0], step), axis=0)
    return np.fmax.reduceat(blocks, np.arange(0, scores.shape[1], step), axis=1)


def image_step(axes: Axes, image: NDArray) -> int:
    """Scene pixels a pixel of the figure, when the scene has more than the figure."""
    return int(np.ceil(image.shape[1] / max(1.0, inches(axes)[0] * DPI)))


def show_image(axes: Axes, image: NDArray, step: int, shape: tuple[int, ...], title: str, **keywords: Any) -> Any:
    """Show an image of which each pixel stands for ``step`` × ``step`` pixels of the scene."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    rows, cols = shape[:2]
    extent = (-0.5, image.shape[1] * step - 0.5, image.shape[0] * step - 0.5, -0.5)
    shown = axes.imshow(image, extent=extent, interpolation="none", aspect="auto", **keywords)
    axes.set_xlim(-0.5, cols - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    width, height = inches(axes)
    for axis, side, pixels, apart in ((axes.xaxis, width, cols, 0.5), (axes.yaxis, height, rows, 0.3)):
        ticks = MaxNLocator(max(1, min(8, int(side / apart))), integer=True, steps=[1, 2, 5, 10])
        axis.set_major_locator(ticks if side > apart and pixels > 1 else FixedLocator([0]))
    dress(axes, title, "column", "row" if height > 0.5 else "")
    return shown


def _halo() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.4, foreground="black")]


def _outline(truth: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Find the pixel edges [n, 2 ends, (x, y)] between anomalous and other pixels."""
    padded = np.pad(truth, 1)
    y, x = np.nonzero(padded[1:-1, :-1] != padded[1:-1, 1:])
    upright = np.stack([np.stack([x, y], -1), np.stack([x, y + 1], -1)], axis=1)
    y, x = np.nonzero(padded[:-1, 1:-1] != padded[1:, 1:-1])
    level = np.stack([np.stack([x, y], -1), np.stack([x + 1, y], -1)], axis=1)
    return np.concatenate([upright, level]) - 0.5
