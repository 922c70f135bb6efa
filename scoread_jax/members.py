"""The default detector's members, and how their maps become one."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from scipy import ndimage

from scoread_jax import closed_form, fusion, views
from scoread_jax.config import ClosedFormConfig, FusionConfig, TrainConfig


def closed_form_members(
    key: jax.Array, valid: np.ndarray, spectra: np.ndarray, config: ClosedFormConfig
) -> dict[str, np.ndarray]:
    """The members that need no training, each averaged over the views.

    Args:
        key: draws the reference spectra of ``scene_nearest``.
        valid: bool [rows, cols].
        spectra: normalised, of the valid pixels, [pixels, bands].
        config: rings, neighbours, views.

    Returns:
        ``ring_nearest``: a soft maximum over rings and numbers of neighbours; ``ring_gaussian``: the maximum over
        rings; ``scene_nearest``. Each [pixels], in robust standard deviations.
    """
    nearest, gaussian, whole = [], [], []
    for number, kind in enumerate(config.views):
        coordinates = views.learn(spectra, kind, config.components).apply(spectra)
        rings = closed_form.ring_scores(
            coordinates,
            valid,
            config.nearest_rings,
            config.neighbours,
            config.gaussian_rings,
            config.gaussian_components,
            config.ridge,
        )
        nearest.append([fusion.robust_z_of_log(one) for ring in rings.nearest for one in ring])
        gaussian.append([fusion.robust_z_of_log(one) for one in rings.gaussian])
        joined = np.concatenate([coordinates, _local_mean(coordinates, valid)], axis=1)
        view_key = jax.random.fold_in(key, number)
        distances = closed_form.scene_scores(view_key, joined, config.scene_neighbours, config.scene_references)
        whole.append(fusion.robust_z_of_log(distances))
    return {
        "ring_nearest": fusion.soft_maximum(np.mean(nearest, axis=0), config.temperature),
        "ring_gaussian": np.max(np.mean(gaussian, axis=0), axis=0),
        "scene_nearest": np.mean(whole, axis=0),
    }


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


def fuse(valid: np.ndarray, maps: Mapping[str, np.ndarray], config: FusionConfig) -> np.ndarray:
    """One map from the members' maps.

    Args:
        valid: bool [rows, cols].
        maps: by member, each [pixels].
        config: members, weights, and what follows in the image.

    Returns:
        [pixels]; of a single member, its own values.
    """
    wanted = [maps[name] for name in config.members]
    if len(wanted) == 1:
        values = wanted[0]
    else:
        values = fusion.weighted_mean([fusion.robust_z(one) for one in wanted], config.weights)
    if not config.surroundings and not config.lend:
        return values
    image = np.zeros(valid.shape)
    image[valid] = values
    image = fusion.subtract_surroundings(image, valid, config.surroundings, config.window)
    return fusion.lend_to_neighbours(image, valid, config.lend)[valid]


def _local_mean(coordinates: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean over the valid pixels among 3 × 3, [pixels, components]."""
    weight = ndimage.uniform_filter(valid.astype(np.float64), 3)
    image = np.zeros((*valid.shape, coordinates.shape[1]))
    image[valid] = coordinates
    return (ndimage.uniform_filter(image, 3, axes=(0, 1))[valid] / weight[valid][:, None]).astype(np.float32)
