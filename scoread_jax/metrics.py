"""How well an anomaly map separates the anomalous pixels of a ground truth from the background.

Every function takes an anomaly map (any shape; higher = more anomalous; NaN or masked: left out) and a ground
truth of the same shape (nonzero = anomalous). It refuses them with ``SceneError`` when the shapes differ, a
score is infinite, the truth of a scored pixel is not finite, or the scored pixels are all of one class.
A pixel is detected when its score is at least the threshold; ties are one step of every curve.

All figures but those of the 3-D ROC depend on the order of the scores alone. The 3-D ROC normalises the map
to [0, 1] by its minimum and maximum, so its figures change under any monotone transform (a logarithm, a
clipping) and with the single lowest and highest pixel: say which transform was used when comparing them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoread_jax.errors import ConfigError, SceneError


class RocCurve(NamedTuple):
    """A receiver operating characteristic; three arrays of equal length, from (0, 0) to (1, 1)."""

    false_alarm_rate: NDArray[np.float64]
    detection_rate: NDArray[np.float64]
    threshold: NDArray[np.float64]  # decreasing; the first is inf: nothing is detected


class PrCurve(NamedTuple):
    """A precision–recall curve; three arrays of equal length, recall from 0 to 1."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]  # 1 by convention where nothing is detected
    threshold: NDArray[np.float64]  # decreasing; the first is inf: nothing is detected


class Roc3D(NamedTuple):
    """The areas under the three projections of the 3-D ROC curve."""

    auc_d_f: float  # area under detection rate v. false-alarm rate: the ordinary ROC AUC
    auc_d_tau: float  # area under detection rate v. threshold: target detectability, higher is better
    auc_f_tau: float  # area under false-alarm rate v. threshold: background suppressibility, lower is better


@dataclasses.dataclass(frozen=True)
class Metrics:
    """All figures of one map: rates and areas in [0, 1] unless said otherwise, higher is better unless said.

    The 3-D ROC figures are those of Chang (IEEE TGRS 59(6), 2021, doi 10.1109/TGRS.2020.3021671).
    Published implementations disagree: many call OD "ODP" or "OA", and some give SNPR in decibels.
    """

    auc: float  # area under the ROC curve, AUC(D,F)
    average_precision: float  # step-wise area under the precision–recall curve
    partial_auc_1pct: float  # mean detection rate over false-alarm rates from 0 to 1 %
    detection_rate_at_1e3: float  # at a false-alarm rate of at most 10⁻³
    detection_rate_at_1e2: float  # at a false-alarm rate of at most 10⁻²
    auc_d_tau: float  # AUC(D,τ): target detectability
    auc_f_tau: float  # AUC(F,τ): background suppressibility, lower is better
    auc_td: float  # target detection, AUC(D,F) + AUC(D,τ), in [0, 2]
    auc_bs: float  # background suppression, AUC(D,F) − AUC(F,τ), in [−1, 1]
    auc_tdbs: float  # target detection in background, AUC(D,τ) − AUC(F,τ), in [−1, 1]
    auc_od: float  # overall detection, AUC(D,F) + AUC(D,τ) − AUC(F,τ), in [−1, 2]
    auc_odp: float  # overall detection probability, AUC(D,τ) + (1 − AUC(F,τ)) = 1 + TDBS, in [0, 2]
    auc_snpr: float  # signal-to-noise probability ratio, AUC(D,τ) / AUC(F,τ); x/0 is inf, 0/0 is NaN
    anomalous_pixels: int  # scored and anomalous in the truth
    background_pixels: int  # scored and not

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain numbers by field name, ready for JSON: a figure that is not finite (SNPR) is None."""
        figures = dataclasses.asdict(self)
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}


class _Counts(NamedTuple):
    """Detected pixels at each threshold: every distinct score, highest first, after inf."""

    threshold: NDArray[np.float64]
    detections: NDArray[np.int64]
    false_alarms: NDArray[np.int64]


def evaluate(anomaly_map: ArrayLike, truth: ArrayLike) -> Metrics:
    """Compute all figures of one map.

    Args:
        anomaly_map: scores of any shape, higher = more anomalous, NaN = masked.
        truth: the same shape, nonzero = anomalous.

    Returns:
        The figures, as Python numbers.

    Raises:
        SceneError: map and truth cannot be compared (see the head of this module).
    """
    scores, anomalous = _scored(anomaly_map, truth)
    counts = _count(scores, anomalous)
    d_f, d_tau, f_tau = _auc(counts), *_areas_over_threshold(scores, anomalous)
    return Metrics(
        auc=d_f,
        average_precision=_average_precision(counts),
        partial_auc_1pct=_partial_auc(counts, 1e-2),
        detection_rate_at_1e3=_detection_rate_at(counts, 1e-3),
        detection_rate_at_1e2=_detection_rate_at(counts, 1e-2),
        auc_d_tau=d_tau,
        auc_f_tau=f_tau,
        auc_td=d_f + d_tau,
        auc_bs=d_f - f_tau,
        auc_tdbs=d_tau - f_tau,
        auc_od=d_f + d_tau - f_tau,
        auc_odp=d_tau + (1.0 - f_tau),
        auc_snpr=d_tau / f_tau if f_tau > 0 else (math.inf if d_tau > 0 else math.nan),
        anomalous_pixels=int(counts.detections[-1]),
        background_pixels=int(counts.false_alarms[-1]),
    )


def roc_curve(anomaly_map: ArrayLike, truth: ArrayLike) -> RocCurve:
    """Return the detection rate against the false-alarm rate, one point a distinct score."""
    return _roc(_count(*_scored(anomaly_map, truth)))


def pr_curve(anomaly_map: ArrayLike, truth: ArrayLike) -> PrCurve:
    """Return the precision against the recall, one point a distinct score."""
    return _pr(_count(*_scored(anomaly_map, truth)))


def roc_auc(anomaly_map: ArrayLike, truth: ArrayLike) -> float:
    """Return the area under the ROC curve, P(anomaly > background) + ½ P(equal); a constant map gives ½."""
    return _auc(_count(*_scored(anomaly_map, truth)))


def average_precision(anomaly_map: ArrayLike, truth: ArrayLike) -> float:
    """Return Σ_n (R_n − R_{n−1}) P_n, scikit-learn's definition; a constant map gives the prevalence."""
    return _average_precision(_count(*_scored(anomaly_map, truth)))


def partial_auc(anomaly_map: ArrayLike, truth: ArrayLike, max_false_alarm_rate: float = 0.01) -> float:
    """Return the mean detection rate over the false-alarm rates from 0 to m, (1/m) ∫₀ᵐ P_D dP_F.

    A perfect map gives 1, a map of no information m/2. With a this value, scikit-learn's
    ``roc_auc_score(max_fpr=m)`` is McClish's standardisation ½ (1 + (a − m/2) / (1 − m/2)): 1 and ½.

    Args:
        anomaly_map: as in :func:`evaluate`.
        truth: as in :func:`evaluate`.
        max_false_alarm_rate: m, in (0, 1]; 1 gives the whole AUC.

    Returns:
        The normalised area, in [0, 1]; between two points of the curve the detection rate is linear.

    Raises:
        SceneError: as in :func:`evaluate`.
        ConfigError: m is not in (0, 1].
    """
    if not 0 < max_false_alarm_rate <= 1:
        raise ConfigError(f"Expected a largest rate in (0, 1], found {max_false_alarm_rate}: give e.g. 0.01.")
    return _partial_auc(_count(*_scored(anomaly_map, truth)), max_false_alarm_rate)


def detection_rate_at(anomaly_map: ArrayLike, truth: ArrayLike, false_alarm_rate: float) -> float:
    """Return the largest detection rate whose false-alarm rate does not exceed the one given.

    Args:
        anomaly_map: as in :func:`evaluate`.
        truth: as in :func:`evaluate`.
        false_alarm_rate: in [0, 1]; below 1 / background pixels, no false alarm at all is allowed.

    Returns:
        The detection rate, in [0, 1]; nothing is interpolated.

    Raises:
        SceneError: as in :func:`evaluate`.
        ConfigError: the rate is not in [0, 1].
    """
    if not 0 <= false_alarm_rate <= 1:
        raise ConfigError(f"Expected a rate in [0, 1], found {false_alarm_rate}: give e.g. 0.001.")
    return _detection_rate_at(_count(*_scored(anomaly_map, truth)), false_alarm_rate)


def roc_3d(anomaly_map: ArrayLike, truth: ArrayLike) -> Roc3D:
    """Return the areas under the three projections of Chang's 3-D ROC curve, exactly.

    n = (map − min) / (max − min) over the scored pixels, 0 for a constant map. Since ∫₀¹ P(n ≥ τ) dτ = E[n],
    AUC(D,τ) and AUC(F,τ) are the means of n over the anomalies and the background (Chang 2021, cited in
    :class:`Metrics`); sums over sampled thresholds, as in most published code, only approach them.
    """
    scores, anomalous = _scored(anomaly_map, truth)
    return Roc3D(_auc(_count(scores, anomalous)), *_areas_over_threshold(scores, anomalous))


def table_rows(metrics: Metrics) -> list[tuple[str, str]]:
    """List the figures for readers: name and value."""
    m = metrics
    return [
        ("anomalous / background pixels", f"{m.anomalous_pixels} / {m.background_pixels}"),
        ("ROC AUC", f"{m.auc:.5f}"),
        ("average precision", f"{m.average_precision:.4f}"),
        ("partial AUC, false alarms <= 1 %", f"{m.partial_auc_1pct:.4f}"),
        ("detection rate at 1e-3", f"{m.detection_rate_at_1e3:.4f}"),
        ("detection rate at 1e-2", f"{m.detection_rate_at_1e2:.4f}"),
        ("3-D ROC  D,tau / F,tau", f"{m.auc_d_tau:.4f} / {m.auc_f_tau:.4f}"),
        ("         TD / BS / TDBS", f"{m.auc_td:.4f} / {m.auc_bs:.4f} / {m.auc_tdbs:.4f}"),
        ("         OD / ODP / SNPR", f"{m.auc_od:.4f} / {m.auc_odp:.4f} / {m.auc_snpr:.2f}"),
    ]


def format_table(metrics: Metrics) -> str:
    """Render the figures as aligned text, without a newline at the end."""
    rows = table_rows(metrics)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _scored(anomaly_map: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores [pixels] and labels [pixels] of the pixels that are not masked."""
    if isinstance(anomaly_map, np.ma.MaskedArray):
        anomaly_map = np.ma.filled(anomaly_map.astype(np.float64), np.nan)
    scores, labels = np.asarray(anomaly_map, dtype=np.float64), np.asarray(truth)
    if scores.shape != labels.shape:
        raise SceneError(
            f"Expected a map and a ground truth of the same shape, found {scores.shape} and {labels.shape}: "
            "give the truth of this scene, cropped and oriented as the map is."
        )
    keep = ~np.isnan(scores)
    scores, labels = scores[keep], labels[keep]
    for name, values in (("map", scores), ("ground truth", labels)):
        bad = values.size - np.count_nonzero(np.isfinite(values))
        if bad:
            raise SceneError(
                f"Expected a finite {name} at every scored pixel, found {bad} values that are not: "
                "set those pixels of the map to NaN to leave them out."
            )
    anomalous = labels != 0
    if anomalous.all() or not anomalous.any():
        raise SceneError(
            "Expected a ground truth with anomalous (nonzero) and background (zero) pixels, found "
            f"{np.count_nonzero(anomalous)} anomalous of {scores.size} scored: check the truth and the mask."
        )
    return scores, anomalous


def _count(scores: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> _Counts:
    order = np.argsort(-scores, kind="stable")
    scores, anomalous = scores[order], anomalous[order]
    last_of_ties = np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)
    detections = np.cumsum(anomalous, dtype=np.int64)[last_of_ties]
    return _Counts(
        threshold=np.append(np.inf, scores[last_of_ties]),
        detections=np.append(0, detections),
        false_alarms=np.append(0, last_of_ties + 1 - detections),
    )


def _roc(counts: _Counts) -> RocCurve:
    false_alarms, detections = counts.false_alarms, counts.detections
    return RocCurve(false_alarms / false_alarms[-1], detections / detections[-1], counts.threshold)


def _pr(counts: _Counts) -> PrCurve:
    precision = np.ones(counts.threshold.size)
    precision[1:] = counts.detections[1:] / (counts.detections + counts.false_alarms)[1:]
    return PrCurve(counts.detections / counts.detections[-1], precision, counts.threshold)


def _auc(counts: _Counts) -> float:
    # In integers, so that ties count exactly half.
    _, detections, false_alarms = counts
    twice_area = np.sum(np.diff(false_alarms) * (detections[1:] + detections[:-1]))
    return int(twice_area) / (2 * int(detections[-1]) * int(false_alarms[-1]))


def _average_precision(counts: _Counts) -> float:
    recall, precision, _ = _pr(counts)
    return float(np.sum(np.diff(recall) * precision[1:]))


def _partial_auc(counts: _Counts, limit: float) -> float:
    x, y, _ = _roc(counts)
    stop = min(int(np.searchsorted(x, limit, side="right")), x.size - 1)  # first point beyond the limit
    at_limit = np.interp(limit, x[stop - 1 : stop + 1], y[stop - 1 : stop + 1])
    return float(np.trapezoid(np.append(y[:stop], at_limit), np.append(x[:stop], limit)) / limit)


def _detection_rate_at(counts: _Counts, false_alarm_rate: float) -> float:
    x, y, _ = _roc(counts)
    return float(y[np.searchsorted(x, false_alarm_rate, side="right") - 1])


def _areas_over_threshold(scores: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> tuple[float, float]:
    low, high = scores.min(), scores.max()
    normalised = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    return float(normalised[anomalous].mean()), float(normalised[~anomalous].mean())
