"""Score models that need no training: what denoising score matching converges to, in closed form.

The density of a pixel's spectrum given its surroundings is modelled by the ring of neighbours around it, in two ways:
as an *empirical* density, whose score at a small noise level pulls to the nearest neighbours, so its length is the
distance to them (the noise level being matched to each pixel by the number of neighbours, as in DTE, Livernoche et
al. 2024, arXiv 2305.18593); and as a *Gaussian*, whose score under noise is ``−(C + λI)⁻¹(x − μ)`` and whose length in
its own metric is the ridge Mahalanobis distance (local RX, Reed & Yu 1990, with a ridge). The same empirical density
of the whole scene is the third. All are label-free, and none has seen the pixel it judges.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax.blocks import Block, cut
from scoread_jax.parallel import PixelFunction, map_chunks, map_pixels

Ring = tuple[int, int]
"""(inner, outer) widths in pixels, both odd: the hole and the window."""

# Pixels at once: their neighbours' coordinates stay within a few megabytes.
_CHUNK = 32
_SCENE_CHUNK = 256

# Of the table in which the smallest of many values are sought.
_TABLE_ROWS = 16


class _Windows(NamedTuple):
    """Where the neighbours of a block's pixels are found: what both ring-conditional scores share.

    Attributes:
        half: pixels on either side.
        width: of a padded row.
        table: coordinates of the block's reach, a row of zeros for what is not there, [around + 1, components].
        position: in the table, of each pixel of the padded block, int32 [padded].
        centres: where the pixels to score lie in ``position``, int32 [pixels].
    """

    half: int
    width: int
    table: np.ndarray
    position: np.ndarray
    centres: np.ndarray


def nearest_scores(
    coordinates: np.ndarray,
    valid: np.ndarray,
    rings: Sequence[Ring],
    neighbours: Sequence[int],
    block: Block | None = None,
) -> np.ndarray:
    """Lengths of the scores of the rings' empirical densities, of a scene or of a block of it, in one compiled call.

    Args:
        coordinates: of the valid pixels of the block's reach in row-major order, [pixels, components].
        valid: of the whole scene, bool [rows, cols].
        rings: to search for neighbours.
        neighbours: how many nearest neighbours make the noise level; fewer where part of a ring is missing.
        block: the rows to score, with a reach of half the widest window; all where None.

    Returns:
        [rings, neighbours, pixels] of the valid pixels of the block's core; NaN where a ring holds no valid pixel.
    """
    windows, block = _windows(coordinates, valid, rings, block)
    scorer = _nearest_scorer(windows.half, windows.width, tuple(rings), tuple(neighbours))
    shared = (windows.table, windows.position)
    found = map_pixels(scorer, shared, windows.centres, at_least=block.most_pixels)
    return np.moveaxis(np.asarray(found), 0, -1)


def gaussian_scores(
    coordinates: np.ndarray,
    valid: np.ndarray,
    rings: Sequence[Ring],
    ridge: float,
    takes_part: np.ndarray | None = None,
    block: Block | None = None,
) -> np.ndarray:
    """Lengths of the scores of Gaussians fitted to the rings, of a scene or of a block of it, in one compiled call.

    Args:
        coordinates: see ``nearest_scores``.
        valid: of the whole scene, bool [rows, cols].
        rings: that Gaussians are fitted to.
        ridge: λ, added to the Gaussian's covariance, in squared units of the coordinates, > 0.
        takes_part: which pixels Gaussians are fitted to, bool [pixels] as ``coordinates``; all where None. A pixel
            that takes no part is judged all the same.
        block: see ``nearest_scores``.

    Returns:
        [rings, pixels] of the valid pixels of the block's core; NaN where a ring holds no pixel that takes part.
    """
    windows, block = _windows(coordinates, valid, rings, block)
    fitted = np.zeros(len(windows.table), bool)
    fitted[: len(coordinates)] = True if takes_part is None else takes_part
    scorer = _gaussian_scorer(windows.half, windows.width, tuple(rings))
    shared = (windows.table, windows.position, fitted, np.float32(ridge))
    return np.asarray(map_pixels(scorer, shared, windows.centres, at_least=block.most_pixels)).T


def halo(rings: Sequence[Ring]) -> int:
    """Pixels on either side that the widest of the rings looks at."""
    return max(outer for _, outer in rings) // 2


def _windows(
    coordinates: np.ndarray, valid: np.ndarray, rings: Sequence[Ring], block: Block | None
) -> tuple[_Windows, Block]:
    half = halo(rings)
    block = cut(valid, len(valid), half)[0] if block is None else block
    absent, width = block.most_around, valid.shape[1] + 2 * half
    core, reach = block.core, block.reach
    seen = slice(max(reach.start, core.start - half), min(reach.stop, core.stop + half))
    position = np.full((block.most_rows + 2 * half, width), absent, np.int32)
    inside = position[half + seen.start - core.start : half + seen.stop - core.start, half : half + valid.shape[1]]
    first = int(np.count_nonzero(valid[reach.start : seen.start]))
    inside[valid[seen]] = first + np.arange(np.count_nonzero(valid[seen]), dtype=np.int32)
    rows, cols = np.nonzero(valid[core])
    centres = ((rows + half) * width + cols + half).astype(np.int32)
    # The last row is for the pixels that are not there.
    table = np.zeros((absent + 1, coordinates.shape[1]), np.float32)
    table[: len(coordinates)] = coordinates
    return _Windows(half, width, table, position.ravel(), centres), block


def _around(half: int, width: int) -> tuple[np.ndarray, dict[int, int]]:
    """Steps to a pixel's neighbours in order of their distance, and how many lie within each window.

    Every ring is then one slice.
    """
    steps = np.arange(-half, half + 1)
    distance = np.maximum(np.abs(steps)[:, None], np.abs(steps)[None, :]).ravel()
    ends = {window: int(np.count_nonzero(distance <= window // 2)) for window in range(1, 2 * half + 2, 2)}
    offsets = (steps[:, None] * width + steps[None, :]).ravel()
    return offsets[np.argsort(distance, kind="stable")].astype(np.int32), ends


@functools.cache
def _nearest_scorer(half: int, width: int, rings: tuple[Ring, ...], neighbours: tuple[int, ...]) -> PixelFunction:
    """``(table, position), centres -> [pixels, rings, neighbours]``."""
    offsets, ends = _around(half, width)

    def one_pixel(table: jax.Array, position: jax.Array, centre: jax.Array) -> jax.Array:
        around = position[centre + offsets]
        difference = table[around] - table[position[centre]][None, :]
        squared = jnp.where(around < len(table) - 1, jnp.sum(difference**2, axis=1), jnp.inf)
        return jnp.stack([_nearest_distances(squared[ends[inner] : ends[outer]], neighbours) for inner, outer in rings])

    return lambda shared, centres: map_chunks(functools.partial(one_pixel, *shared), centres, _CHUNK)


@functools.cache
def _gaussian_scorer(half: int, width: int, rings: tuple[Ring, ...]) -> PixelFunction:
    """``(table, position, fitted, ridge), centres -> [pixels, rings]``."""
    offsets, ends = _around(half, width)
    shells = sorted({ends[window] for ring in rings for window in ring})

    def one_pixel(
        table: jax.Array, position: jax.Array, fitted: jax.Array, ridge: jax.Array, centre: jax.Array
    ) -> jax.Array:
        around = position[centre + offsets]
        there = fitted[around]
        difference = jnp.where(there[:, None], table[around] - table[position[centre]][None, :], 0.0)
        counts, sums, products = [], [], []
        for begin, end in itertools.pairwise(shells):
            part = difference[begin:end]
            counts.append(jnp.sum(there[begin:end]))
            sums.append(jnp.sum(part, axis=0))
            products.append(part.T @ part)
        lengths = []
        for inner, outer in rings:
            inside = slice(shells.index(ends[inner]), shells.index(ends[outer]))
            count, total, product = (jnp.sum(jnp.stack(p[inside]), axis=0) for p in (counts, sums, products))
            lengths.append(_mahalanobis(count, total, product, ridge))
        return jnp.stack(lengths)

    return lambda shared, centres: map_chunks(functools.partial(one_pixel, *shared), centres, _CHUNK)


def _nearest_distances(squared: jax.Array, neighbours: tuple[int, ...]) -> jax.Array:
    """Mean distance to the k nearest, k scaled by the part of the ring that is there; [neighbours]."""
    there = jnp.mean(jnp.isfinite(squared))
    most = min(max(neighbours), squared.shape[0])
    nearest = -jax.lax.top_k(-squared, most)[0]
    distance = jnp.sqrt(jnp.where(jnp.isfinite(nearest), nearest, 0.0))
    rank = jnp.arange(most)
    means = []
    for k in neighbours:
        weight = jnp.clip(jnp.maximum(k * there, 1.0) - rank, 0.0, 1.0)
        means.append(jnp.sum(distance * weight) / jnp.sum(weight))
    return jnp.where(there > 0, jnp.stack(means), jnp.nan)


def _mahalanobis(count: jax.Array, total: jax.Array, product: jax.Array, ridge: jax.Array) -> jax.Array:
    """``√(μᵀ (C + λI)⁻¹ μ)`` of the differences to the pixel, from their number, sum and sum of products; []."""
    mean = total / jnp.maximum(count, 1)
    covariance = product / jnp.maximum(count, 1) - jnp.outer(mean, mean)
    factor = jnp.linalg.cholesky(covariance + ridge * jnp.eye(mean.shape[0]))
    whitened = jax.scipy.linalg.solve_triangular(factor, mean, lower=True)
    return jnp.where(count > 0, jnp.linalg.norm(whitened), jnp.nan)


class References(NamedTuple):
    """Spectra that stand for the whole scene.

    Attributes:
        coordinates: float32 [references, components].
        places: where they lie in the list of the scene's valid pixels, sorted, int32 [references].
        nearest: how many of them make the noise level.
    """

    coordinates: np.ndarray
    places: np.ndarray
    nearest: int


def reference_places(key: jax.Array, pixels: int, references: int) -> np.ndarray:
    """Draw the pixels that stand for the scene, without replacement; sorted, int32 [min(references, pixels)]."""
    if references >= pixels:
        return np.arange(pixels, dtype=np.int32)
    return np.sort(np.asarray(jax.random.choice(key, pixels, (references,), replace=False), np.int32))


def nearest_of(neighbours: int, references: int, pixels: int) -> int:
    """How many of the references stand for ``neighbours`` of the scene's spectra: in proportion, but at least 3."""
    return min(max(3, round(neighbours * references / pixels)), references - 1)


def scene_scores(references: References, coordinates: np.ndarray, places: np.ndarray, at_least: int = 0) -> np.ndarray:
    """Length of the score of the whole scene's empirical density: the mean distance to the nearest spectra.

    Args:
        references: of the scene.
        coordinates: [pixels, components].
        places: where these pixels lie in the list of the scene's valid pixels, int32 [pixels].
        at_least: see ``parallel.map_pixels``.

    Returns:
        [pixels]; a spectrum is not its own neighbour.
    """
    shared = (references.coordinates, references.places)
    return np.asarray(map_pixels(_scene_scorer(references.nearest), shared, (coordinates, places), at_least=at_least))


def _smallest(values: jax.Array, count: int) -> jax.Array:
    """The ``count`` smallest of [n], from the smallest on, as ``lax.top_k`` finds them, in less time on CPUs.

    In a table they lie in those ``count`` columns whose minima are smallest.
    """
    columns = -(-len(values) // _TABLE_ROWS)
    if columns > count:
        table = jnp.pad(values, (0, columns * _TABLE_ROWS - len(values)), constant_values=jnp.inf)
        table = table.reshape(_TABLE_ROWS, columns)
        _, chosen = jax.lax.top_k(-jnp.min(table, axis=0), count)
        values = table[:, chosen].ravel()
    return -jax.lax.top_k(-values, count)[0]


@functools.cache
def _scene_scorer(nearest: int) -> PixelFunction:
    """``(references, places), (coordinates, place) -> [pixels]``."""

    def scene(shared: tuple[jax.Array, jax.Array], pixels: tuple[jax.Array, jax.Array]) -> jax.Array:
        references, places = shared
        lengths = jnp.sum(references**2, axis=1)

        def one_pixel(pixel: tuple[jax.Array, jax.Array]) -> jax.Array:
            x, place = pixel
            squared = jnp.sum(x**2) + lengths - 2 * (references @ x)
            squared = jnp.where(places == place, jnp.inf, squared)
            return jnp.mean(jnp.sqrt(jnp.maximum(_smallest(squared, nearest), 0.0)))

        return map_chunks(one_pixel, pixels, _SCENE_CHUNK)

    return scene
