"""One map from several: each is made comparable by a null calibrated on the scene itself, then they are averaged.

Most of a scene is background, so the median and the median absolute deviation of a map describe its law under the
null hypothesis, whatever the map's units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from scoread_jax.errors import ScoreADError
from scoread_jax.opening import area_opening

# The median absolute deviation of a normal law is its standard deviation divided by this.
_MAD_TO_STD = 1.4826

# Components that a mixture may have, and spectra that it is fitted to.
_MIXTURE_SIZES = (1, 2, 3, 5, 8)
_MIXTURE_SAMPLE = 20_000
_LEAST_WEIGHT = 0.02


class Null(NamedTuple):
    """The law of a statistic on the background: the scale on which its values become comparable.

    Attributes:
        median: of the values, or of their logarithms.
        spread: 1.4826 · MAD of the same; 0 where more than half are equal.
        floor: smallest positive value, where logarithms are taken; 0 where they are not.
        bend: robust standard deviations up to which about they count as they are, beyond it by their logarithm.
        veto: robust standard deviations below the median that they come near and never pass.
    """

    median: float
    spread: float
    floor: float = 0.0
    bend: float = np.inf
    veto: float = np.inf

    def z(self, values: np.ndarray) -> np.ndarray:
        """``bend asinh(z / bend)`` above the median, ``veto tanh(z / veto)`` below, of ``z = (v − median) / spread``.

        NaN becomes 0, no evidence either way, and so does all without a spread.
        """
        if not self.spread > 0:
            return np.zeros(values.shape)
        if self.floor:
            values = np.log(np.maximum(values, self.floor))
        z = np.where(np.isfinite(values), (values - self.median) / self.spread, 0.0)
        above = self.bend * np.arcsinh(z / self.bend) if np.isfinite(self.bend) else z
        below = self.veto * np.tanh(z / self.veto) if np.isfinite(self.veto) else z
        return np.where(z > 0, above, below)


def null(values: np.ndarray, linear_to: float = 1.0, veto: float = 0.0) -> Null:
    """The law of values of both signs, from the finite ones, of any shape.

    Args:
        values: some of them NaN perhaps.
        linear_to: the quantile of the z-scores at which they bend, in (0, 1]; 1: nowhere.
        veto: how far below the median they may fall; 0: without limit.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Null(0.0, 0.0)
    median = np.median(finite)
    straight = Null(median, _MAD_TO_STD * np.median(np.abs(finite - median)))
    bend = np.quantile(straight.z(finite), linear_to) if linear_to < 1 else np.inf
    return straight._replace(bend=bend if bend > 0 else np.inf, veto=veto or np.inf)


def null_of_log(values: np.ndarray) -> Null:
    """The law of the logarithms of lengths; zeros count as the smallest positive value."""
    positive = values[np.isfinite(values) & (values > 0)]
    floor = positive.min() if positive.size else 1.0
    return null(np.log(np.maximum(values, floor)))._replace(floor=floor)


def calibrated_null(scores: np.ndarray) -> Null:
    """``null_of_log`` of scores that are lengths, ``null`` of those that take both signs."""
    return null_of_log(scores) if np.nanmin(scores) >= 0 else null(scores)


def robust_z(values: np.ndarray, linear_to: float = 1.0, veto: float = 0.0) -> np.ndarray:
    """Values of any shape by their own ``null``; zeros where more than half of them are equal."""
    return null(values, linear_to, veto).z(values)


def robust_z_of_log(values: np.ndarray) -> np.ndarray:
    """``robust_z`` of the logarithm, for statistics that are lengths."""
    return null_of_log(values).z(values)


def fuse_times(scores: np.ndarray, how: str = "mean_z") -> np.ndarray:
    """One score from several noise times, each judged by a null that the scene itself gives.

    Args:
        scores: [times, pixels].
        how: one of ``TIME_FUSIONS``.

    Returns:
        [pixels]; for a single time the scores themselves, unchanged.
    """
    return scores[0] if len(scores) == 1 else TIME_FUSIONS[how](scores)


def calibrated(scores: np.ndarray) -> np.ndarray:
    """Scores by the law of their own kind; see ``calibrated_null``."""
    return calibrated_null(scores).z(scores)


def mean_z(scores: np.ndarray) -> np.ndarray:
    """The mean over times of ``calibrated`` scores; [times, pixels] -> [pixels]."""
    return np.mean([calibrated(one) for one in scores], axis=0)


def max_z(scores: np.ndarray) -> np.ndarray:
    """The maximum over times of ``calibrated`` scores; [times, pixels] -> [pixels]."""
    return np.max([calibrated(one) for one in scores], axis=0)


def fisher(scores: np.ndarray) -> np.ndarray:
    """``−Σ_t ln p_t`` of empirical p-values, a pixel's rank from the top over the pixels (Fisher 1932).

    It sees order alone, so no assumption on the law of a score; [times, pixels] -> [pixels].
    """
    from scipy import stats  # a third of a second, and only wanted here

    p_values = stats.rankdata(-scores, axis=1) / scores.shape[1]
    return -np.log(p_values).sum(axis=0)


def mixture(scores: np.ndarray) -> np.ndarray:
    """``−ln p`` of a pixel's scores at all times, under a Gaussian mixture fitted to the scene.

    With the statistic ``clean_norm`` this is MSMA (Mahmood et al. 2021, arXiv 2010.13132). Scores are standardised;
    the number of components is that of the lowest Bayesian information criterion. A component of less than a
    fiftieth of the scene is taken for anomalies and does not count; [times, pixels] -> [pixels].

    Raises:
        ScoreADError: where scikit-learn is not installed.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ScoreADError(
            "time_fusion mixture needs scikit-learn, which is not installed: pip install 'scoread-jax[sklearn]'"
        ) from error
    vectors = np.stack([calibrated(one) for one in scores], axis=1)
    sample = vectors[:: -(-len(vectors) // _MIXTURE_SAMPLE)]
    sizes = [size for size in _MIXTURE_SIZES if 2 * size <= len(sample)]
    fits = [GaussianMixture(size, reg_covar=1e-3, random_state=0).fit(sample) for size in sizes]
    best: Any = min(fits, key=lambda fit: fit.bic(sample))
    kept = np.where(best.weights_ < _LEAST_WEIGHT, 1e-300, best.weights_)
    best.weights_ = kept / kept.sum()
    return -best.score_samples(vectors)


TIME_FUSIONS = {"mean_z": mean_z, "max_z": max_z, "fisher": fisher, "mixture": mixture}


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


def lower_large_groups(
    anomaly_map: np.ndarray,
    valid: np.ndarray,
    largest: int,
    background: float,
    ground: float = 0.0,
    keep: float = 0.0,
) -> np.ndarray:
    """Lower what stands out together in groups too large for an object: roofs, roads, shores.

    A pixel is lowered by as much as the large group of the highest level that it belongs to stands above the
    background; what rises from a large group, or stands by itself, keeps its height over it. A group that stands higher
    than ground does may be a large object after all, and keeps a share of what it stands higher.

    Args:
        anomaly_map: robust z-scores, [rows, cols].
        valid: which pixels count, bool [rows, cols].
        largest: pixels of an object, ≥ 1.
        background: level that is not lowered.
        ground: height above the background from which on a share is kept.
        keep: that share, in [0, 1].

    Returns:
        [rows, cols], nowhere higher than before.
    """
    height = area_opening(np.where(valid, anomaly_map, -np.inf), largest, background) - background
    return anomaly_map - height + keep * np.maximum(height - ground, 0.0)


def subtract_surroundings(
    anomaly_map: np.ndarray, valid: np.ndarray, amount: float, window: int, background: float
) -> np.ndarray:
    """Lower a map where all is restless: less ``amount`` times the local mean of ``min(z, background)``.

    The bound keeps an anomaly from hiding itself and its neighbours.

    Args:
        anomaly_map: robust z-scores, [rows, cols].
        valid: which pixels count, bool [rows, cols].
        amount: in [0, 1]; 0 changes nothing.
        window: width of the mean in pixels, odd.
        background: robust standard deviations that a pixel counts for at most.

    Returns:
        [rows, cols].
    """
    bounded = np.where(valid, np.minimum(anomaly_map, background), 0.0)
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
