"""The panels of the HTML report, a figure each, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scoread_jax.colours import linear_scale
from scoread_jax.report import charts
from scoread_jax.report.images import block_maxima, draw_map, draw_outline, draw_peaks, image_step, show_image
from scoread_jax.report.layout import MARK, PEAK_COLOURS, PNG, add_axes, bar_box, is_tall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scoread_jax.scene import Scene

TRUTH = "#ffb000"
_WIDTH, _TALLEST = 5.4, 4.8  # inches
_SHARP = 144  # pixels an inch: twice what the page shows


def preview(composite: NDArray) -> bytes:
    """The scene in colours, [rows, cols, 3]."""
    figure, axes, _ = _image_figure(composite.shape[:2])
    _show(axes, composite)
    return _png(figure)


def overlay(
    composite: NDArray, detected: NDArray[np.bool_], peaks: NDArray, truth: NDArray[np.bool_] | None
) -> tuple[bytes, int]:
    """The scene with outlines of detections and ground truth, and numbers; and by how many pixels they are widened."""
    figure, axes, _ = _image_figure(composite.shape[:2])
    _show(axes, composite)
    if truth is not None:
        draw_outline(axes, truth, TRUTH)
    widened = draw_outline(axes, detected, MARK)
    if len(peaks):
        draw_peaks(axes, peaks, *composite.shape[:2])
    return _png(figure), widened


def linear_map(scores: NDArray) -> bytes:
    """The map, colours linear in the scores."""
    figure, axes, bar = _image_figure(scores.shape, bar=True)
    draw_map(axes, bar, scores, "", linear_scale(scores))
    return _png(figure)


def percentile_map(scores: NDArray) -> bytes:
    """The map, colours by rank: every shade stands for the same number of pixels."""
    figure, axes, bar = _image_figure(scores.shape, bar=True)
    step = image_step(axes, scores)
    shown = block_maxima(scores, step)  # ranks of what is shown: nearly all of many pixels' maxima rank high
    ranks = np.full(shown.shape, np.nan)
    scored = ~np.isnan(shown)
    if scored.any():
        values = shown[scored]
        # SciPy's rankdata, whose module takes a third of a second to import.
        ranks[scored] = 100 * np.searchsorted(np.sort(values), values, "right") / len(values)
    whole = ranks.repeat(step, axis=0).repeat(step, axis=1)[: scores.shape[0], : scores.shape[1]]
    draw_map(axes, bar, whole, "", linear_scale(ranks), "percentile of the scores")
    return _png(figure)


def spectra(scene: Scene, scores: NDArray, truth: NDArray[np.bool_] | None, peaks: NDArray) -> bytes:
    """Spectra of the highest objects against the background."""

    def draw(axes: Axes) -> None:
        charts.draw_spectra(axes, scene, scores, truth, peaks[: len(PEAK_COLOURS)])

    return _chart(draw, width=11.0, below=1.25)


def histogram(scores: NDArray, level: tuple[float, str] | None) -> bytes:
    """Histogram of the scores."""
    return _chart(lambda axes: charts.draw_histogram(axes, scores, level))


def curves(scores: NDArray, truth: NDArray[np.bool_]) -> list[bytes]:
    """ROC, precision–recall, the two others of the 3-D ROC, separability."""
    drawings = (charts.draw_roc, charts.draw_precision_recall, charts.draw_thresholds, charts.draw_separability)
    return [_chart(lambda axes, draw=draw: draw(axes, scores, truth)) for draw in drawings]


def _image_figure(shape: tuple[int, ...], bar: bool = False) -> tuple[Figure, Axes, Axes]:
    rows, cols = shape
    tall = is_tall(np.empty(shape, bool))
    scale = min((_WIDTH - 0.75 - 1.2 * tall) / cols, _TALLEST / rows)
    box = (0.65, 0.3, cols * scale, rows * scale)
    figure = _figure(_WIDTH, box[1] + box[3] + (1.15 if bar and not tall else 0.5))
    axes = add_axes(figure, box)
    return figure, axes, add_axes(figure, bar_box(box, tall)) if bar else axes


def _show(axes: Axes, composite: NDArray) -> None:
    step = image_step(axes, composite)
    show_image(axes, composite[::step, ::step], step, composite.shape, "")


def _chart(draw: Callable[[Axes], None], width: float = _WIDTH, below: float = 0.55) -> bytes:
    figure = _figure(width, 0.35 + 2.7 + below)
    draw(add_axes(figure, (0.75, 0.35, width - 0.95, 2.7)))
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    memory = io.BytesIO()
    figure.savefig(memory, dpi=_SHARP, **PNG)
    return memory.getvalue()
