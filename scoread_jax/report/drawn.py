"""The figure of drawn spectra: beside those of a scene, band for band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scoread_jax.report.layout import ANOMALY, BACKGROUND, LEFT, RIGHT, WIDTH, add_axes, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = 25
_GAP, _HIGH = 0.75, 3.0  # inches


def drawn_figure(drawn: NDArray, real: NDArray | None = None, title: str = "Drawn spectra") -> Figure:
    """Draw spectra of the model, and those of the scene beside them.

    Args:
        drawn: [count, bands].
        real: of the scene, [pixels, bands], in the same units; None: the drawn ones alone.
        title: the heading.

    Returns:
        The figure: single spectra over mean and 5–95 % of each, and the standard deviation of each band.
    """
    groups = [("drawn", drawn, ANOMALY)] + ([] if real is None else [("of the scene", real, BACKGROUND)])
    words = ", ".join(f"{len(values)} {name}" for name, values, _ in groups)
    figure = new_figure(WIDTH, 1.05 + _HIGH + 0.75, title, [f"{words}; {drawn.shape[1]} bands"])
    columns = len(groups) + 1
    width = (WIDTH - LEFT - RIGHT - (columns - 1) * _GAP) / columns
    panels = [add_axes(figure, (LEFT + n * (width + _GAP), 1.05, width, _HIGH)) for n in range(columns)]
    limits = _limits([values for _, values, _ in groups])
    for axes, (name, values, colour) in zip(panels, groups, strict=False):
        _spectra(axes, values, colour)
        axes.set_ylim(limits)
        dress(axes, f"Spectra {name}", "band", "value in the cube" if axes is panels[0] else "", grid=True)
    for name, values, colour in groups:
        panels[-1].plot(values.std(axis=0), color=colour, linewidth=1.4, label=name)
    panels[-1].legend(fontsize=8, frameon=False)
    panels[-1].set_ylim(bottom=0)
    dress(panels[-1], "Standard deviation", "band", grid=True)
    return figure


def _spectra(axes: Axes, values: NDArray, colour: str) -> None:
    band = np.arange(values.shape[1])
    low, high = np.percentile(values, (5, 95), axis=0)
    axes.fill_between(band, low, high, color=colour, alpha=0.2, linewidth=0)
    # Drawn at random: every so many pixels could all lie in one column of the image.
    for line in np.random.default_rng(0).permutation(values)[:_LINES]:
        axes.plot(band, line, color=colour, alpha=0.35, linewidth=0.6)
    axes.plot(band, values.mean(axis=0), color=colour, linewidth=2.0)
    axes.margins(x=0.01)


def _limits(groups: list[NDArray]) -> tuple[float, float]:
    """Room for nearly all values of all groups, so that one stray spectrum does not flatten the rest."""
    ends = np.asarray([np.percentile(values, (0.1, 99.9)) for values in groups])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
