"""The default detector's members, and how their maps become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from scoread_jax import closed_form, fusion, views
from scoread_jax.blocks import Block
from scoread_jax.closed_form import References
from scoread_jax.config import ClosedFormConfig, FusionConfig
from scoread_jax.views import View

SpectraAt = Callable[[np.ndarray], np.ndarray]
"""Places in the list of a scene's valid pixels, sorted, to normalised spectra [places, bands]."""


class Learned(NamedTuple):
    """What the members that need no training know of the scene as a whole, one entry for each view.

    Attributes:
        views: the coordinates.
        ridges: λ of ``ring_gaussian``.
        references: of ``scene_nearest``.
    """

    views: tuple[View, ...]
    ridges: tuple[float, ...]
    references: tuple[References, ...]


class Nearest(NamedTuple):
    """Lengths of the empirical densities' scores, pixel by pixel, before anything is compared with the scene.

    Attributes:
        ring: float32 [views, rings · neighbours, pixels].
        scene: float32 [views, 1, pixels].
    """

    ring: np.ndarray
    scene: np.ndarray


def learn(
    key: jax.Array, valid: np.ndarray, sample: np.ndarray, spectra_at: SpectraAt, config: ClosedFormConfig
) -> Learned:
    """Learn views, ridges and references of a scene.

    Args:
        key: draws the references.
        valid: bool [rows, cols].
        sample: normalised spectra that stand for the scene, [sample, bands].
        spectra_at: reads the references and their neighbours.
        config: views, components, references.
    """
    places = closed_form.reference_places(key, int(np.count_nonzero(valid)), config.scene_references)
    nearest = closed_form.nearest_of(config.scene_neighbours, len(places), int(np.count_nonzero(valid)))
    around = _around(valid, *(axis[places] for axis in np.nonzero(valid)))
    wanted = np.unique(around[around >= 0])
    spectra = spectra_at(wanted)
    inside = np.where(around >= 0, np.searchsorted(wanted, around), len(wanted))
    learned, ridges, references = [], [], []
    for kind in config.views:
        view = views.learn(sample, kind, config.components)
        leading = view.apply(sample)[:, : config.gaussian_components].astype(np.float64)
        ridges.append(config.ridge * max(leading.var(axis=0).sum(), np.finfo(np.float32).tiny))
        joined = _with_local_mean(view.apply(spectra), inside)
        references.append(References(joined, places, nearest))
        learned.append(view)
    return Learned(tuple(learned), tuple(ridges), tuple(references))


def nearest(
    learned: Learned, valid: np.ndarray, block: Block, spectra: np.ndarray, config: ClosedFormConfig
) -> Nearest:
    """Lengths of the empirical densities' scores at a block's pixels.

    Args:
        learned: of the scene.
        valid: of the whole scene, bool [rows, cols].
        block: cut with a halo of ``reach(config)``.
        spectra: normalised, of the valid pixels of the block's reach, [around, bands].
        config: rings and neighbours.

    Returns:
        Of the valid pixels of the block's core.
    """
    rows, cols = np.nonzero(valid[block.core])
    around = _around(valid[block.reach], rows + block.core.start - block.reach.start, cols)
    inside = np.where(around >= 0, around, len(spectra))
    places = np.arange(block.pixels.start, block.pixels.stop, dtype=np.int32)
    ring, whole = [], []
    for view, references in zip(learned.views, learned.references, strict=True):
        coordinates = view.apply(spectra)
        found = closed_form.nearest_scores(coordinates, valid, config.nearest_rings, config.neighbours, block)
        joined = _with_local_mean(coordinates, inside)
        ring.append(found.reshape(-1, len(places)))
        whole.append(closed_form.scene_scores(references, joined, places, block.most_pixels)[None])
    return Nearest(np.stack(ring), np.stack(whole))


def gaussian(
    learned: Learned,
    valid: np.ndarray,
    takes_part: np.ndarray,
    block: Block,
    spectra: np.ndarray,
    config: ClosedFormConfig,
) -> np.ndarray:
    """Lengths of the scores of the rings' Gaussians at a block's pixels.

    Args:
        learned: of the scene.
        valid: of the whole scene, bool [rows, cols].
        takes_part: which valid pixels of the scene Gaussians are fitted to, bool [pixels].
        block: cut with a halo of ``reach(config)``.
        spectra: see ``nearest``.
        config: rings.

    Returns:
        float32 [views, rings, pixels] of the valid pixels of the block's core.
    """
    first = int(np.count_nonzero(valid[: block.reach.start]))
    takes_part = takes_part[first : first + len(spectra)]
    found = []
    for view, ridge in zip(learned.views, learned.ridges, strict=True):
        leading = view.apply(spectra)[:, : config.gaussian_components]
        found.append(closed_form.gaussian_scores(leading, valid, config.gaussian_rings, ridge, takes_part, block))
    return np.stack(found)


def reach(config: ClosedFormConfig) -> int:
    """Rows on either side of a block that its members look at."""
    return closed_form.halo((*config.nearest_rings, *config.gaussian_rings))


def compare_nearest(found: Nearest, config: ClosedFormConfig) -> dict[str, np.ndarray]:
    """Compare the lengths of all pixels of a scene with each other; ``found`` is used up.

    Args:
        found: of the whole scene.
        config: ``temperature``.

    Returns:
        ``ring_nearest``: a soft maximum over rings and numbers of neighbours; ``scene_nearest``. Each [pixels], in
        robust standard deviations, averaged over the views.
    """
    ring, whole = _compared(found.ring), _compared(found.scene)
    return {"ring_nearest": fusion.soft_maximum(ring, config.temperature), "scene_nearest": whole[0]}


def compare_gaussian(found: np.ndarray) -> dict[str, np.ndarray]:
    """The same for ``ring_gaussian``, the maximum over rings.

    Args:
        found: of the whole scene, [views, rings, pixels]; used up.
    """
    return {"ring_gaussian": _compared(found).max(axis=0)}


def fuse(valid: np.ndarray, maps: Mapping[str, np.ndarray], config: FusionConfig) -> np.ndarray:
    """One map from the members' maps.

    Args:
        valid: bool [rows, cols].
        maps: by member, each [pixels].
        config: members, weights, and what follows in the image.

    Returns:
        [pixels]; of a single member, its own values where nothing follows in the image.
    """
    wanted = [maps[name] for name in config.members]
    if len(wanted) == 1 and not config.in_image:
        return wanted[0]
    comparable = [fusion.robust_z(one, config.linear_to, config.veto) for one in wanted]
    values = fusion.weighted_mean(comparable, config.weights)
    if not config.in_image:
        return values
    image = np.zeros(valid.shape)
    image[valid] = values
    if config.largest_object:
        image = fusion.lower_large_groups(
            image, valid, config.largest_object, config.background, config.ground, config.keep_large
        )
    image = fusion.subtract_surroundings(image, valid, config.surroundings, config.window, config.background)
    return fusion.lend_to_neighbours(image, valid, config.lend)[valid]


def _compared(maps: np.ndarray) -> np.ndarray:
    """Lengths [views, maps, pixels] in robust standard deviations, averaged over the views; in place."""
    for view in maps:
        for one in view:
            one[:] = fusion.robust_z_of_log(one)
    return maps.mean(axis=0)


def _around(valid: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Places of the 3 × 3 pixels around each of some pixels, −1 where there is no valid one; int32 [9, pixels]."""
    place = np.full((valid.shape[0] + 2, valid.shape[1] + 2), -1, np.int32)
    place[1:-1, 1:-1][valid] = np.arange(np.count_nonzero(valid), dtype=np.int32)
    return np.stack([place[rows + down, cols + right] for down in range(3) for right in range(3)])


def _with_local_mean(coordinates: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Coordinates of some pixels beside their mean over the valid pixels among 3 × 3.

    Args:
        coordinates: [table, components].
        around: the 3 × 3 pixels around each pixel in the table, ``table`` where there is none, [9, pixels].

    Returns:
        float32 [pixels, 2 · components].
    """
    table = np.concatenate([coordinates, np.zeros((1, coordinates.shape[1]), np.float32)])
    # Pixel after pixel in the same order, so that a mean does not depend on what else is computed.
    total, count = np.zeros((around.shape[1], coordinates.shape[1])), np.zeros(around.shape[1])
    for places in around:
        total += table[places]
        count += places < len(coordinates)
    return np.concatenate([table[around[4]], total / count[:, None]], axis=1).astype(np.float32)
