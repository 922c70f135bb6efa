"""Pictures of a comparison: differences with their intervals, and mean ranks with the critical difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.compare import Difference, Ranks
from scoread_jax.report.layout import ANOMALY, BACKGROUND, FAINT, INK, add_axes, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.34  # inches


def forest(differences: Sequence[Difference], reference: str, figure_name: str, scenes: int) -> Figure:
    """Each method's difference to the reference, with the interval that holds 95 % of the bootstrap."""
    height = _ROW * len(differences)
    lines = [f"mean over {scenes} scenes; bars: 95 % of a paired bootstrap over scenes and seeds"]
    figure = new_figure(9.0, 1.75 + height, f"{figure_name}: difference to {reference}", lines)
    axes = add_axes(figure, (2.6, 1.05, 5.0, height))
    for row, one in enumerate(differences):
        colour = {"better": BACKGROUND, "worse": ANOMALY}.get(one.verdict, FAINT)
        axes.plot([one.low, one.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(one.mean, row, "o", color=colour, markersize=5)
        words = f"{one.wins} : {one.losses}"
        axes.annotate(words, (1.02, row), xycoords=("axes fraction", "data"), fontsize=8, color=INK, va="center")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(differences)), [one.method for one in differences])
    axes.set_ylim(len(differences) - 0.5, -0.5)
    dress(axes, "", f"{figure_name}, higher is better", grid=True)
    axes.annotate(
        "scenes won : lost", (1.02, 1.0), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points",
        fontsize=8, color=FAINT,
    )  # fmt: skip
    return figure


def critical_difference(found: Ranks, figure_name: str, scenes: int) -> Figure:
    """Mean ranks on a line; a bar joins methods that the test does not tell apart."""
    methods, rank = list(found.mean), np.asarray(list(found.mean.values()))
    groups = _groups(rank, found.critical_difference)
    height = 0.35 + 0.16 * len(groups) + 0.26 * -(-len(methods) // 2)
    lines = [
        f"mean rank over {scenes} scenes, 1 is best; bars join what Nemenyi's test at 5 % does not tell apart "
        f"(critical difference {found.critical_difference:.2f})"
    ]
    figure = new_figure(9.0, 1.5 + height, f"{figure_name}: mean ranks", lines)
    axes = add_axes(figure, (2.3, 1.15, 4.4, height))
    low, high = 1.0, float(len(methods))
    axes.set_xlim(low - 0.1, high + 0.1)
    axes.set_ylim(height, 0)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    dress(axes)
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    for level, (first, last) in enumerate(groups):
        depth = 0.14 + 0.16 * level
        axes.plot([rank[first] - 0.05, rank[last] + 0.05], [depth, depth], color=INK, linewidth=3)
    left = -(-len(methods) // 2)
    for number, method in enumerate(methods):
        on_left = number < left
        row = number if on_left else len(methods) - 1 - number
        depth = 0.3 + 0.16 * len(groups) + 0.26 * row
        end = low - 0.1 if on_left else high + 0.1
        axes.plot([rank[number], rank[number], end], [0, depth, depth], color=FAINT, linewidth=0.9, clip_on=False)
        axes.annotate(
            f"{method}  {rank[number]:.2f}" if on_left else f"{rank[number]:.2f}  {method}",
            (end, depth), xytext=(-4 if on_left else 4, 0), textcoords="offset points", fontsize=9, color=INK,
            ha="right" if on_left else "left", va="center", annotation_clip=False,
        )  # fmt: skip
    return figure


def growth(rows: Sequence[dict[str, Any]], slopes: Mapping[str, float]) -> Figure:
    """Time and memory against each size that was varied, on logarithmic axes."""
    lines = ["published network; grey: in proportion; memory: most resident beyond the scene itself"]
    figure = new_figure(10.0, 6.3, "Scoring against size", lines)
    for number, (name, slope) in enumerate(slopes.items()):
        points = [row for row in rows if row["varied"] == name]
        size = np.array([row[name] for row in points], float)
        left = 0.75 + 2.35 * number
        time = add_axes(figure, (left, 1.25, 1.75, 1.85))
        seconds = np.array([row["seconds"]["median"] for row in points])
        time.plot(size, seconds[-1] * size / size[-1], color=FAINT, linewidth=0.9)
        time.plot(size, seconds, "o-", color=BACKGROUND, markersize=4)
        memory = add_axes(figure, (left, 3.85, 1.75, 1.85))
        memory.plot(size, [max(1.0, row["megabytes"]) for row in points], "o-", color=ANOMALY, markersize=4)
        for axes, least, most in ((time, 0.03, 100), (memory, 10, 3000)):
            axes.set_xscale("log")
            axes.set_xticks(size, [f"{value:g}" for value in size])
            axes.set_xticks([], minor=True)
            axes.set_yscale("log")
            axes.set_ylim(least, most)
        dress(time, f"{name}: slope {slope:.2f}", "", "seconds" if number == 0 else "", grid=True)
        dress(memory, "", name, "memory, MiB" if number == 0 else "", grid=True)
    return figure


def _groups(rank: np.ndarray, critical_difference: float) -> list[tuple[int, int]]:
    """First and last of each longest run of ranks, in order, that lie within the critical difference."""
    groups: list[tuple[int, int]] = []
    for first in range(len(rank)):
        last = int(np.flatnonzero(rank <= rank[first] + critical_difference)[-1])
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
