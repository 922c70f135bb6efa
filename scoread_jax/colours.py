"""How scores become colours: one scale, stated in words, for figures and image files alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

COLOUR_MAP = "inferno"  # perceptually uniform, without the grey of masked pixels
MASKED = "#9a9a9a"


def colour_scale(scores: NDArray[np.float64]) -> tuple[Normalize, str]:
    """Return the mapping of scores to [0, 1], and in words where it ends.

    It ends at the 0.1 and 99.9 percentiles, so that no single pixel sets the colours. Anomalies rarer than
    that and far above it would look like the tail of the background: then it is logarithmic to the maximum.
    """
    from matplotlib.colors import LogNorm, Normalize

    values = scores[~np.isnan(scores)]
    if values.size == 0:
        return Normalize(0, 1), "no pixel scored"
    low, high = (float(end) for end in np.percentile(values, (0.1, 99.9)))
    if low > 0 and values.max() > 3 * high:
        return LogNorm(low, values.max()), f"logarithmic, 0.1 percentile to maximum, {values.max():.4g}"
    if low < high:
        return Normalize(low, high), f"colours span the 0.1–99.9 percentiles, maximum {values.max():.4g}"
    low, high = float(values.min()), float(values.max())
    if low < high:
        return Normalize(low, high), "colours span minimum to maximum"
    return Normalize(low, low + max(abs(low), 1.0)), f"constant, {low:.4g}"


def linear_scale(scores: NDArray[np.float64]) -> tuple[Normalize, str]:
    """Return the mapping of scores to [0, 1] from their minimum to their maximum, and the same in words."""
    from matplotlib.colors import Normalize

    values = scores[~np.isnan(scores)]
    if not values.size or values.min() == values.max():
        return colour_scale(scores)
    return Normalize(float(values.min()), float(values.max())), "linear, minimum to maximum"


def paint(scores: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colour every pixel by ``colour_scale``.

    Args:
        scores: finite [rows, cols], NaN = masked.

    Returns:
        Red, green, blue, opacity, [rows, cols, 4]; masked pixels are transparent.
    """
    from matplotlib import colormaps

    masked = np.isnan(scores)
    norm, _ = colour_scale(scores)
    pixels = colormaps[COLOUR_MAP](norm(np.clip(scores, norm.vmin, norm.vmax)).filled(0), bytes=True)
    pixels[masked] = 0
    return pixels
