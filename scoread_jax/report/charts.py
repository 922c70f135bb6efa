"""The panels that are curves: ROC, precision–recall, separability, the histogram of the scores, spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scoread_jax import metrics as figures_of
from scoread_jax.cube import pixels
from scoread_jax.report.layout import (
    ANOMALY,
    BACKGROUND,
    FAINT,
    INK,
    PEAK_COLOURS,
    dress,
    inches,
    score_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scoread_jax.scene import Scene


def draw_roc(axes: Axes, scores: NDArray, truth: NDArray[np.bool_]) -> None:
    """Draw the ROC curve over a logarithmic false-alarm rate."""
    from matplotlib.ticker import NullFormatter

    roc = figures_of.roc_curve(scores, truth)
    corner = _corners(roc.detection_rate)
    x, y = roc.false_alarm_rate[corner], roc.detection_rate[corner]
    scored = ~np.isnan(scores)
    floor = 0.5 / np.count_nonzero(scored & ~truth)  # where the logarithmic axis shows "no false alarm"
    grid = np.setdiff1d(np.geomspace(floor, 1, 300), x)  # ties: straight lines, which bend on this axis
    axes.plot(grid, grid, color=FAINT, linewidth=0.9, linestyle=":")
    x, y = np.append(x, grid), np.append(y, np.interp(grid, x, y))
    order = np.lexsort((y, x))
    axes.plot(np.maximum(x, floor)[order], y[order], color=ANOMALY, linewidth=1.6)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())  # few pixels: its labels would meet
    axes.set_xlim(floor, 1)
    axes.set_ylim(-0.02, 1.03)
    dress(axes, "ROC", "false-alarm rate (dotted: chance)", "detection rate", grid=True)


def draw_precision_recall(axes: Axes, scores: NDArray, truth: NDArray[np.bool_]) -> None:
    """Draw the precision–recall curve as the steps that average precision sums."""
    curve = figures_of.pr_curve(scores, truth)
    corner = _corners(curve.recall) & (np.arange(curve.recall.size) <= np.argmax(curve.recall))
    recall, precision = curve.recall[corner], curve.precision[corner]
    precision[0] = precision[1]  # the point of no detection is a convention
    axes.axhline(curve.precision[-1], color=FAINT, linewidth=0.9, linestyle=":")
    axes.plot(recall, precision, color=ANOMALY, linewidth=1.6, drawstyle="steps-pre")
    axes.set_xlim(-0.02, 1.03)
    axes.set_ylim(-0.02, 1.03)
    dress(axes, "Precision–recall", "recall (dotted: chance)", "precision", grid=True)


def draw_separability(axes: Axes, scores: NDArray, truth: NDArray[np.bool_]) -> None:
    """Draw where the scores of background and anomalies lie, as two boxes."""
    scored = ~np.isnan(scores)
    groups = (("background", ~truth, BACKGROUND), ("anomalies", truth, ANOMALY))
    for place, (name, members, colour) in enumerate(groups):
        values = scores[scored & members]
        low, p10, p50, p90, high = np.percentile(values, (0, 10, 50, 90, 100))
        box = {"whislo": low, "q1": p10, "med": p50, "q3": p90, "whishi": high, "fliers": []}
        line = {"color": colour, "linewidth": 1.2}
        axes.bxp(
            [box | {"label": f"{name}\n{values.size} pixels"}],
            positions=[place],
            widths=0.5,
            patch_artist=True,
            boxprops={"facecolor": colour + "40", "edgecolor": colour},
            medianprops=line | {"linewidth": 2.2},
            whiskerprops=line,
            capprops=line,
        )
    axes.set_xlim(-0.6, 1.6)
    _scale_scores(axes, scores[scored], "y")
    dress(axes, "Separability", "boxes 10–90 %, whiskers all", "anomaly score", grid=True)
    axes.xaxis.grid(False)


def draw_thresholds(axes: Axes, scores: NDArray, truth: NDArray[np.bool_]) -> None:
    """Draw the two projections of the 3-D ROC curve over the threshold: detection rate and false-alarm rate."""
    scored = ~np.isnan(scores)
    low, high = scores[scored].min(), scores[scored].max()
    normalised = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    figures = figures_of.roc_3d(scores, truth)
    groups = (
        ("detection rate", truth, ANOMALY, f"area {figures.auc_d_tau:.3f}"),
        ("false-alarm rate", ~truth, BACKGROUND, f"area {figures.auc_f_tau:.3f}"),
    )
    for name, members, colour, area in groups:
        values = np.sort(normalised[scored & members])
        rate = 1 - np.arange(values.size + 1) / values.size
        x, y = np.concatenate([[0], values, [1]]), np.concatenate([rate[:1], rate])
        axes.plot(x, y, color=colour, linewidth=1.6, drawstyle="steps-pre", label=f"{name}, {area}")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.03)
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    dress(axes, "3-D ROC, over the threshold", "threshold (0: lowest score, 1: highest)", "rate", grid=True)


def draw_histogram(axes: Axes, scores: NDArray, level: tuple[float, str] | None = None) -> None:
    """Draw the histogram of all scores, and a level of reference with its name."""
    from matplotlib.ticker import NullFormatter

    values = scores[~np.isnan(scores)]
    if values.size:
        logarithmic = _scale_scores(axes, values, "x")
        low, high = values.min(), values.max()
        spaced = np.geomspace if logarithmic else np.linspace
        edges = spaced(low, high, 61) if high > low else np.array([low - 0.5, low + 0.5])
        edges[-1] = max(edges[-1], high)  # rounding must not lose the highest
        axes.hist(values, bins=edges.tolist(), color=BACKGROUND)
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    if level is not None:
        axes.axvline(level[0], color=INK, linewidth=1.0, linestyle="--", label=level[1])
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    dress(axes, "Scores", "anomaly score", "pixels", grid=True)


def draw_spectra(axes: Axes, scene: Scene, scores: NDArray, truth: NDArray[np.bool_] | None, peaks: NDArray) -> None:
    """Draw the background (mean and 5–95 % of each good band) and the spectra of the peaks."""
    scored = scene.valid & ~np.isnan(scores)
    if truth is not None:
        background, name = scored & ~truth, "background: mean, 5–95 %"
    else:
        limit = np.percentile(scores[scored], 99) if scored.any() else 0.0
        background, name = scored & (scores <= limit), "99 % lowest scores: mean, 5–95 %"
    bands = np.flatnonzero(scene.good_bands)
    x = np.asarray(bands if scene.wavelengths is None else scene.wavelengths, dtype=np.float64)
    if scene.wavelengths is not None:
        x = x[bands]
        bands, x = bands[np.argsort(x)], np.sort(x)
    steps = np.diff(x)
    gaps = np.flatnonzero(steps > 3 * np.median(steps)) + 1 if steps.size else np.empty(0, dtype=int)
    places = np.argwhere(background)
    places = places[:: max(1, len(places) // 20_000)]  # enough for percentiles, and bounded

    def spectra(at: NDArray) -> NDArray:
        values = pixels(scene.cube, at)[:, bands].astype(np.float64)
        return np.insert(values, gaps, np.nan, axis=1)  # no line across dropped bands

    x = np.insert(x, gaps, np.nan)
    if len(places):
        sample = spectra(places)
        low, high = np.percentile(sample, (5, 95), axis=0)
        axes.fill_between(x, low, high, color=BACKGROUND, alpha=0.25, linewidth=0)
        axes.plot(x, sample.mean(axis=0), color=BACKGROUND, linewidth=2.0, label=name)
    for number, ((row, col), values) in enumerate(zip(peaks, spectra(peaks), strict=True)):
        kind = "" if truth is None else ", anomaly" if truth[row, col] else ", background"
        label = f"{number + 1}: row {row}, column {col}{kind}"
        axes.plot(x, values, color=PEAK_COLOURS[number], linewidth=1.1, label=label)
    axes.margins(x=0.01)
    known = scene.wavelengths is not None
    dress(
        axes,
        "Spectra of the highest peaks",
        "wavelength (nm)" if known else "band",
        "value in the cube",
        grid=True,
    )
    if axes.get_legend_handles_labels()[0]:
        width, height = inches(axes)
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.45 / height), ncols=3 if width > 8 else 2, fontsize=8,
            frameon=False, borderaxespad=0, handlelength=1.6, labelcolor=INK,
        )  # fmt: skip


def _scale_scores(axes: Axes, scores: NDArray, which: str) -> bool:
    """Make the axis of the scores logarithmic when they are positive and span a factor of 3."""
    from matplotlib.ticker import NullFormatter

    low, high = scores.min(), scores.max()
    if not (low > 0 and high > 3 * low):
        return False
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis, ticks = axes.xaxis if which == "x" else axes.yaxis, score_ticks(low, high)
    axis.set_major_locator(ticks["ticks"])
    axis.set_major_formatter(ticks["format"])
    axis.set_minor_formatter(NullFormatter())
    return True


def _corners(rate: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points of a curve matter: those with a detection on either side (the others lie on a line)."""
    changes = np.diff(rate) != 0
    return np.append(changes, True) | np.insert(changes, 0, True)
