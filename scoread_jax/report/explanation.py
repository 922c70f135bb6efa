"""The figure that explains one pixel: its spectrum, the background, and the pulls of the detector's members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scoread_jax.report.layout import ANOMALY, BACKGROUND, INK, PEAK_COLOURS, add_axes, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scoread_jax.explain import Explanation, Surroundings
    from scoread_jax.scene import Scene

_NETWORK, _OTHERS = BACKGROUND, PEAK_COLOURS[1:]  # the first is that of the pixel


def explanation_figure(scene: Scene, around: Surroundings, pixel: Explanation) -> Figure:
    """Draw spectra above, pulls below, both over the wavelength.

    Args:
        scene: of the pixel.
        around: what it is compared with.
        pixel: its explanation.
    """
    title = f"{scene.name}: row {pixel.row}, column {pixel.col}"
    figure = new_figure(11.0, 8.2, title, [f"anomaly score {pixel.score:.4g}"])
    order, x, label = _axis(scene, around.bands)
    top, bottom = add_axes(figure, (0.75, 1.25, 9.9, 2.7)), add_axes(figure, (0.75, 5.05, 9.9, 2.4))
    low, high = around.mean - around.deviation, around.mean + around.deviation
    top.fill_between(x, low[order], high[order], color=BACKGROUND, alpha=0.25, linewidth=0)
    top.plot(x, around.mean[order], color=BACKGROUND, linewidth=2.0, label="background: mean ± deviation")
    place = f"row {pixel.nearest_row}, column {pixel.nearest_col}"
    top.plot(x, pixel.nearest[order], color=INK, linewidth=1.1, label=f"nearest background, {place}")
    top.plot(x, pixel.spectrum[order], color=ANOMALY, linewidth=1.6, label="this pixel")
    dress(top, "Spectrum", "", "value in the cube", grid=True)
    bottom.axhline(0, color=INK, linewidth=0.6)
    networks = [name for name in pixel.pulls if name.startswith("network")]
    for name, pull in pixel.pulls.items():
        if name in networks:
            fade = 0.4 + 0.6 * (networks.index(name) + 1) / len(networks)
            bottom.plot(x, pull[order], color=_NETWORK, alpha=fade, linewidth=1.3, label=name)
        else:
            bottom.plot(x, pull[order], color=_colour(list(pixel.pulls), name), linewidth=1.3, label=name)
    dress(bottom, "Pull: denoised minus measured, by member", label, "change of the value", grid=True)
    for axes in (top, bottom):
        axes.margins(x=0.01)
        _legend(axes)
    return figure


def _axis(scene: Scene, bands: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    if scene.wavelengths is None:
        return np.arange(len(bands)), bands, "band"
    order = np.argsort(scene.wavelengths[bands])
    return order, scene.wavelengths[bands][order], "wavelength (nm)"


def _colour(names: list[str], name: str) -> str:
    others = [each for each in names if not each.startswith("network")]
    return _OTHERS[others.index(name) % len(_OTHERS)]


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.17), ncols=4, fontsize=8, frameon=False, borderaxespad=0,
        handlelength=1.6, labelcolor=INK,
    )  # fmt: skip
