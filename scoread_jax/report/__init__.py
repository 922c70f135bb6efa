"""What is shown of a run, drawn without a display: the anomaly map, an overview, and a page.

Overviews are 11 inches wide, maps at most. Rows, columns and bands are counted from 0, as they are indexed.
Matplotlib is imported when the first figure is made, without pyplot: nothing global is touched.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoread_jax import metrics as figures_of
from scoread_jax.errors import ConfigError, SceneError
from scoread_jax.metrics import Metrics
from scoread_jax.report import charts
from scoread_jax.report.explanation import explanation_figure
from scoread_jax.report.images import (
    draw_map,
    draw_outline,
    draw_peaks,
    false_colour,
    find_peaks,
    image_step,
    show_image,
)
from scoread_jax.report.layout import (
    DPI,
    FAINT,
    LEFT,
    PEAK_COLOURS,
    PNG,
    RIGHT,
    WIDTH,
    add_axes,
    bar_box,
    is_tall,
    new_figure,
    overview_layout,
    write,
)
from scoread_jax.report.page import html_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scoread_jax.scene import Scene

__all__ = [
    "explanation_figure",
    "false_colour",
    "find_peaks",
    "get_ready",
    "html_page",
    "map_figure",
    "overview_figure",
    "save_figure",
]


def map_figure(anomaly_map: ArrayLike, title: str = "Anomaly map") -> Figure:
    """Draw the anomaly map with its colour bar.

    Args:
        anomaly_map: [rows, cols], NaN = masked (drawn grey); the bar states where the colours end.
        title: the heading.

    Returns:
        The figure; an image that has more pixels than the figure is reduced by the maximum of each block.

    Raises:
        SceneError: the map is not two-dimensional or holds infinite values.
    """
    scores = _checked(anomaly_map)
    rows, cols = scores.shape
    tall = is_tall(scores)
    scale = min((WIDTH - LEFT - RIGHT - (1.1 if tall else 0)) / cols, 9.0 / rows)
    box = (LEFT, 1.05, cols * scale, rows * scale)
    masked = np.count_nonzero(np.isnan(scores))
    line = f"{rows} × {cols} pixels" + (f", {masked} masked (grey)" if masked else "")
    width = max(5.5, LEFT + box[2] + RIGHT)  # never narrower than the words under the bar
    figure = new_figure(width, box[1] + box[3] + (0.6 if tall else 1.25), title, [line])
    draw_map(add_axes(figure, box), add_axes(figure, bar_box(box, tall)), scores, "")
    return figure


def overview_figure(
    scene: Scene, anomaly_map: ArrayLike, metrics: Metrics | None = None, title: str | None = None
) -> Figure:
    """Draw scene, map, spectra, and how well the map separates the ground truth when there is one.

    Args:
        scene: the scene that was scored, [rows, cols, bands].
        anomaly_map: [rows, cols], NaN = masked.
        metrics: the figures to show; by default those of the scene's ground truth.
        title: the heading, by default the name of the scene.

    Returns:
        The figure: with a ground truth, its outline, the ROC and precision–recall curves and the separability
        of the scores; without one (or with one of a single class), the ten highest peaks and a histogram.

    Raises:
        SceneError: the map is not of the scene's size or holds infinite values.
    """
    scores = _checked(anomaly_map)
    rows, cols = scene.cube.shape[:2]
    if scores.shape != (rows, cols):
        found = f"found {scores.shape[0]} × {scores.shape[1]}: give the map of this scene."
        raise SceneError(f"Expected a map of the scene's {rows} × {cols} pixels, {found}")
    truth = _usable_truth(scene, scores)
    if metrics is None and truth is not None:
        metrics = figures_of.evaluate(scores, truth)
    peaks = find_peaks(scores, 10)

    layout = overview_layout(rows, cols, truth is not None)
    figure = new_figure(WIDTH, layout.height, title or scene.name, _headlines(scene, scores, metrics))
    scene_axes = add_axes(figure, layout.scene)
    composite, caption = false_colour(scene)
    if truth is not None:
        wider = draw_outline(scene_axes, truth)
        caption += " Cyan: outline of the ground truth" + (f", {wider} px wider." if wider else ".")
    elif len(peaks):
        draw_peaks(scene_axes, peaks, rows, cols)
        caption += f" Circles: the {len(peaks)} highest peaks of the map, best first."
    if np.isnan(scores).any() or not scene.valid.all():
        caption += " Grey: masked."
    left, top, width = layout.caption
    write(figure, left, top, textwrap.fill(caption, int(width / 0.058)), 8, FAINT)
    step = image_step(scene_axes, composite)
    show_image(scene_axes, composite[::step, ::step], step, composite.shape, "Scene")
    draw_map(add_axes(figure, layout.map), add_axes(figure, layout.bar), scores, "Anomaly map")

    chart_axes = [add_axes(figure, box) for box in layout.charts]
    if truth is not None:
        charts.draw_roc(chart_axes[0], scores, truth)
        charts.draw_precision_recall(chart_axes[1], scores, truth)
        charts.draw_separability(chart_axes[2], scores, truth)
    else:
        charts.draw_histogram(chart_axes[0], scores)
    charts.draw_spectra(chart_axes[-1], scene, scores, truth, peaks[: len(PEAK_COLOURS)])
    return figure


def get_ready() -> None:
    """Load Matplotlib and its fonts, for plain and for logarithmic labels."""
    figure = new_figure(3, 3, "", [""])
    add_axes(figure, (1, 1, 1, 1)).set_yscale("log")
    figure.canvas.draw()


def save_figure(figure: Figure, path: str | Path, dpi: int = DPI) -> None:
    """Write a figure atomically.

    Args:
        figure: any figure of this module.
        path: the file, replaced when it exists; its suffix names the format (.png, .pdf, .svg, …).
        dpi: pixels an inch, of image formats.

    Raises:
        ConfigError: the suffix names no format that Matplotlib writes.
    """
    from scoread_jax.io.atomic import atomic_write

    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in formats:
        known = ", ".join(f".{name}" for name in sorted(formats))
        raise ConfigError(f"Expected a figure file with one of the suffixes {known}, found {path.name!r}: rename it.")
    with atomic_write(path) as temporary:
        kind = path.suffix[1:].lower()
        options: dict[str, Any] = PNG if kind == "png" else {"format": kind}
        figure.savefig(temporary, dpi=dpi, **options)


def _checked(anomaly_map: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(anomaly_map, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise SceneError(f"Expected a map [rows, cols], found an array of shape {scores.shape}: give one band.")
    infinite = np.count_nonzero(np.isinf(scores))
    if infinite:
        raise SceneError(f"Expected a finite map, found {infinite} infinite scores: set those pixels to NaN.")
    return scores


def _usable_truth(scene: Scene, scores: NDArray) -> NDArray[np.bool_] | None:
    if scene.truth is None:
        return None
    truth = np.asarray(scene.truth, dtype=bool)
    members = truth[~np.isnan(scores)]
    return None if members.all() or not members.any() else truth


def _headlines(scene: Scene, scores: NDArray, metrics: Metrics | None) -> list[str]:
    rows, cols, bands = scene.cube.shape
    good, masked = np.count_nonzero(scene.good_bands), np.count_nonzero(np.isnan(scores))
    scene_line = f"{rows} × {cols} pixels, {good} of {bands} bands" + (f", {masked} pixels masked" if masked else "")
    if metrics is None:
        return [scene_line]
    return [
        f"{scene_line}; ground truth: {metrics.anomalous_pixels} anomalous pixels",
        f"ROC AUC {metrics.auc:.5f}   average precision {metrics.average_precision:.4f}   "
        f"partial AUC to 1 % {metrics.partial_auc_1pct:.4f}   "
        f"detection rate {metrics.detection_rate_at_1e3:.3f} at 10⁻³ and "
        f"{metrics.detection_rate_at_1e2:.3f} at 10⁻² false alarms",
    ]
