"""One map from several: each is made comparable by a null calibrated on the scene itself, then they are averaged.

Most of a scene is background, so the median and the median absolute deviation of a map describe its law under the
null hypothesis, whatever the map's units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# The median absolute deviation of a normal law is its standard deviation divided by this.
_MAD_TO_STD = 1.4826


def robust_z(values: np.ndarray) -> np.ndarray:
    """``(v − median) / (1.4826 · MAD)`` over the finite entries; NaN becomes 0: no evidence either way.

    Args:
        values: any shape.

    Returns:
        The same shape; zeros where more than half of the values are equal.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape)
    median = np.median(values[finite])
    spread = _MAD_TO_STD * np.median(np.abs(values[finite] - median))
    return np.where(finite, (values - median) / spread, 0.0) if spread > 0 else np.zeros(values.shape)


def robust_z_of_log(values: np.ndarray) -> np.ndarray:
    """``robust_z`` of the logarithm, for statistics that are lengths; zeros count as the smallest positive value."""
    positive = values[np.isfinite(values) & (values > 0)]
    floor = positive.min() if positive.size else 1.0
    return robust_z(np.log(np.maximum(values, floor)))


def fuse_times(scores: np.ndarray) -> np.ndarray:
    """One score from several noise times: the mean over times of ``robust_z_of_log``.

    Args:
        scores: [times, pixels], ≥ 0.

    Returns:
        [pixels]; for a single time the scores themselves, unchanged.
    """
    return scores[0] if len(scores) == 1 else np.mean([robust_z_of_log(one) for one in scores], axis=0)


def soft_maximum(maps: np.ndarray, temperature: float) -> np.ndarray:
    """``T log mean exp(z / T)`` over the first axis: between the mean (T → ∞) and the maximum (T → 0)."""
    top = maps.max(axis=0).astype(np.float64)
    # Map after map: all at once would take several times their memory.
    total = np.zeros(top.shape)
    for one in maps:
        total += np.exp((one - top) / temperature)
    return top + temperature * np.log(total / len(maps))


def weighted_mean(maps: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The weighted mean of maps of one shape."""
    return np.average(np.stack(list(maps)), axis=0, weights=list(weights))


def subtract_surroundings(anomaly_map: np.ndarray, valid: np.ndarray, amount: float, window: int) -> np.ndarray:
    """Lower a map where all is restless: less ``amount`` times the local mean of ``min(z, 1)``.

    The bound keeps an anomaly from hiding itself and its neighbours.

    Args:
        anomaly_map: robust z-scores, [rows, cols].
        valid: which pixels count, bool [rows, cols].
        amount: in [0, 1]; 0 changes nothing.
        window: width of the mean in pixels, odd.

    Returns:
        [rows, cols].
    """
    bounded = np.where(valid, np.minimum(anomaly_map, 1.0), 0.0)
    weight = ndimage.uniform_filter(valid.astype(np.float64), window, mode="reflect")
    local = ndimage.uniform_filter(bounded, window, mode="reflect") / np.maximum(weight, 1e-12)
    return anomaly_map - amount * local


def lend_to_neighbours(anomaly_map: np.ndarray, valid: np.ndarray, amount: float) -> np.ndarray:
    """Raise the neighbours of high pixels: plus ``amount`` times the maximum over 3 × 3 pixels.

    The mixed pixels at an object's edge belong to the object. A peak keeps its lead, since it is its own maximum.

    Args:
        anomaly_map: [rows, cols].
        valid: which pixels count, bool [rows, cols].
        amount: ≥ 0; 0 changes nothing.

    Returns:
        [rows, cols].
    """
    known = np.where(valid, anomaly_map, -np.inf)
    return anomaly_map + amount * np.where(valid, ndimage.maximum_filter(known, size=3, mode="nearest"), 0.0)
