"""Perturbations where they count: a few for every pixel, all K for those whose rank is still open.

An anomaly is rare, and most pixels are told from it by a few evaluations. What is open is judged over the scene as a
whole, so it does not depend on blocks, devices or processes.
"""

from __future__ import annotations

import math

import numpy as np

from scoread_jax.config import DetectConfig


def open_pixels(first: np.ndarray, config: DetectConfig) -> np.ndarray:
    """Those whose rank is still open after the first pass: the highest.

    Args:
        first: scores of the first pass, higher = more anomalous, [pixels].
        config: ``refine``, the fraction.

    Returns:
        Sorted, [⌈refine · pixels⌉].
    """
    count = math.ceil(config.refine * len(first))
    return np.sort(np.argsort(-first, kind="stable")[:count])


def on_one_scale(first: np.ndarray, found: np.ndarray, refined: np.ndarray) -> np.ndarray:
    """Scores of both passes, those of the first scaled as the second one changed the scores of the open pixels.

    How a sum of unit scores grows with their number depends on how their noise is drawn, and the highest of the first
    pass were partly high by chance: the medians of both passes over the open pixels tell both.

    Args:
        first: scores of the first pass, [times, pixels].
        found: the same, but those of the second pass where it was made.
        refined: where it was made.

    Returns:
        [times, pixels].
    """
    before, after = (np.median(scores[:, refined], axis=1, keepdims=True) for scores in (first, found))
    whole = (first * np.divide(after, before, out=np.ones_like(after), where=before > 0)).astype(found.dtype)
    whole[:, refined] = found[:, refined]
    return whole
