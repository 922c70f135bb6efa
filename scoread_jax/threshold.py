"""From scores to detections: where to cut a map. A step of its own, taken when the scores are final.

Every threshold is a score; a pixel is detected when its score is at least that. Masked pixels (NaN) take no part.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from scoread_jax.errors import ConfigError, SceneError

# The tail of the background begins at one share of the pixels and is looked at up to the other: above that may be
# anomalies, which count as pixels of the tail but do not say how far it reaches.
_TAIL_BEGINS, _TAIL_ENDS = 0.90, 0.99
_FEWEST_EXCEEDANCES = 30


class Tail(NamedTuple):
    """A generalised Pareto law, P(s > x) = share · (1 + shape (x − start) / scale)^(−1/shape) for x ≥ start.

    Attributes:
        start: score from which on it holds.
        share: of the pixels that lie above ``start``.
        scale: in units of the scores, > 0.
        shape: ξ; 0 an exponential tail, positive a heavier one, negative one that ends.
    """

    start: float
    share: float
    scale: float
    shape: float

    def quantile(self, rate: float) -> float:
        """The score that a share ``rate`` ≤ ``share`` of the background exceeds."""
        return self.start + self.scale * _inverse(rate / self.share, self.shape)


def by_percentile(anomaly_map: np.ndarray, percentile: float) -> float:
    """The score below which ``percentile`` per cent of the pixels lie.

    Args:
        anomaly_map: scores, NaN = masked.
        percentile: in [0, 100].

    Raises:
        ConfigError: for a percentile outside of [0, 100].
        SceneError: for a map without a scored pixel.
    """
    if not 0 <= percentile <= 100:
        raise ConfigError(f"--percentile must be in [0, 100], found {percentile:g}")
    return float(np.percentile(_scores(anomaly_map), percentile))


def by_count(anomaly_map: np.ndarray, count: int) -> float:
    """The score of the ``count``-th highest pixel; with ties there, more pixels are detected.

    Args:
        anomaly_map: scores, NaN = masked.
        count: at least 1, at most the number of scored pixels.

    Raises:
        ConfigError: for another count.
        SceneError: for a map without a scored pixel.
    """
    scores = _scores(anomaly_map)
    if not 1 <= count <= scores.size:
        raise ConfigError(f"--count must be from 1 to the map's {scores.size} scored pixels, found {count}")
    return float(np.partition(scores, scores.size - count)[scores.size - count])


def by_false_alarm_rate(anomaly_map: np.ndarray, rate: float) -> float:
    """The score that a share ``rate`` of the background is expected to exceed, by its own fitted tail.

    The tail is ``fit_tail``'s, so nothing is assumed of the scores but that the upper tenth of the background runs out
    smoothly. On normal, exponential, gamma and Student scores the realised rate is within a factor of 1.4 at 10⁻³.
    What anomalies there are among the upper hundredth raise the threshold: on the public scenes with ground truth the
    realised rate is seldom above the one asked for and often well below (``python -m benchmarks.false_alarms``).

    Args:
        anomaly_map: scores, NaN = masked.
        rate: false alarms per background pixel, in (0, 0.1].

    Raises:
        ConfigError: for a rate outside of (0, 0.1].
        SceneError: for too few pixels to fit a tail, or scores of which too many are equal.
    """
    if not 0 < rate <= 1 - _TAIL_BEGINS:
        raise ConfigError(
            f"--false-alarm-rate must be in (0, {1 - _TAIL_BEGINS:g}], where the tail is fitted, found {rate:g}"
        )
    tail = fit_tail(anomaly_map)
    return tail.quantile(min(rate, tail.share))


def fit_tail(anomaly_map: np.ndarray) -> Tail:
    """Fit a generalised Pareto law to the upper tail of the background, by censored maximum likelihood.

    Exceedances of a high score follow that law in the limit (Pickands, Ann. Statist. 3(1), 1975; peaks over threshold:
    Davison & Smith, J. R. Statist. Soc. B 52(3), 1990). The tail begins at the 90th percentile. Scores above the 99th
    are right-censored there: they count, but how high they are does not, since the anomalies are among them.

    Args:
        anomaly_map: scores, NaN = masked.

    Raises:
        SceneError: for fewer than 30 distinct scores in the tail.
    """
    from scipy import optimize  # half a second, and only wanted here

    scores = _scores(anomaly_map)
    start, end = (float(q) for q in np.quantile(scores, (_TAIL_BEGINS, _TAIL_ENDS)))
    exceedances = scores[(scores > start) & (scores <= end)] - start
    censored = int(np.count_nonzero(scores > end))
    distinct = np.unique(exceedances).size
    if distinct < _FEWEST_EXCEEDANCES:
        raise SceneError(
            f"expected at least {_FEWEST_EXCEEDANCES} different scores between the 90th and 99th percentiles, "
            f"to fit the background's tail, found {distinct}; use --percentile or --count"
        )

    def cost(parameters: np.ndarray) -> float:
        scale, shape = math.exp(parameters[0]), float(parameters[1])
        inside, limit = _log_survival(exceedances / scale, shape), _log_survival(np.array((end - start) / scale), shape)
        if not (np.isfinite(inside).all() and np.isfinite(limit)):
            return math.inf
        # The density is the survival's (1 + shape)-th power, over the scale.
        return float(len(exceedances) * parameters[0] - (1 + shape) * inside.sum() - censored * limit)

    found = optimize.minimize(cost, [math.log(exceedances.mean()), 0.0], method="Nelder-Mead")
    share = (len(exceedances) + censored) / scores.size
    return Tail(start, share, math.exp(found.x[0]), float(found.x[1]))


def _log_survival(x: np.ndarray, shape: float) -> np.ndarray:
    """``−log(1 + shape x) / shape``; −∞ beyond the end of a tail that ends."""
    if abs(shape) < 1e-9:
        return -x
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(1 + shape * x > 0, -np.log1p(shape * x) / shape, -np.inf)


def _inverse(probability: float, shape: float) -> float:
    """Where the survival of the standard law falls to ``probability``."""
    if abs(shape) < 1e-9:
        return -math.log(probability)
    return math.expm1(-shape * math.log(probability)) / shape


def _scores(anomaly_map: np.ndarray) -> np.ndarray:
    scores = np.asarray(anomaly_map, np.float64)
    scores = scores[~np.isnan(scores)]
    if not scores.size:
        raise SceneError("expected a map with scores, found all of its pixels masked; check the mask of the scene")
    return scores
