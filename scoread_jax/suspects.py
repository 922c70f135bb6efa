"""Pixels that a first look finds suspicious: they step aside, so that no model learns the anomalies as background."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from scoread_jax import fusion, members
from scoread_jax.config import ClosedFormConfig, FusionConfig, TrainConfig


def in_no_ring(
    valid: np.ndarray, maps: Mapping[str, np.ndarray], config: ClosedFormConfig, image: FusionConfig
) -> np.ndarray:
    """Find the pixels that no Gaussian is fitted to: small objects that the nearest spectra do not explain.

    A Gaussian is drawn to what it is fitted to, and an object wider than a ring's hole would explain itself.

    Args:
        valid: bool [rows, cols].
        maps: of ``members.compare_nearest``.
        config: ``suspects``.
        image: how maps are treated in the image.

    Returns:
        bool [pixels].
    """
    names = tuple(maps)
    suspicion = members.fuse(valid, maps, dataclasses.replace(image, members=names, weights=(1.0,) * len(names)))
    order = np.argsort(-suspicion, kind="stable")
    found = np.zeros(len(order), bool)
    found[order[: round(config.suspects * len(order))]] = True
    return found


def training_pixels(key: jax.Array, maps: Mapping[str, np.ndarray], pixels: int, config: TrainConfig) -> np.ndarray:
    """Choose the pixels that train: all but the most anomalous, or a sample of those.

    Args:
        key: draws the sample.
        maps: closed-form members, each [pixels]; not looked at where ``config.drop`` is 0.
        pixels: number of valid pixels.
        config: ``drop`` and ``max_pixels``.

    Returns:
        int32 [chosen], sorted.
    """
    chosen = np.arange(pixels, dtype=np.int32)
    if config.drop:
        suspicion = np.mean([fusion.robust_z(one) for one in maps.values()], axis=0)
        kept = max(1, round(pixels * (1 - config.drop)))
        chosen = np.sort(np.argsort(suspicion, kind="stable")[:kept]).astype(np.int32)
    if config.max_pixels and len(chosen) > config.max_pixels:
        sample = np.asarray(jax.random.choice(key, len(chosen), (config.max_pixels,), replace=False))
        chosen = chosen[np.sort(sample)]
    return chosen
