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


class RingScores(NamedTuple):
    """Lengths of the ring-conditional scores of every pixel; NaN where a ring holds no valid pixel.

    Attributes:
        nearest: of the empirical density, [rings, neighbours, pixels].
        gaussian: of the Gaussian, [rings, pixels].
    """

    nearest: np.ndarray
    gaussian: np.ndarray


def ring_scores(
    coordinates: np.ndarray,
    valid: np.ndarray,
    nearest_rings: Sequence[Ring],
    neighbours: Sequence[int],
    gaussian_rings: Sequence[Ring],
    gaussian_components: int,
    ridge: float,
    block: Block | None = None,
) -> RingScores:
    """Both ring-conditional scores of a scene or of a block of it, in one compiled call.

    Args:
        coordinates: of the valid pixels of the block's reach in row-major order, centred, [pixels, components].
        valid: of the whole scene, bool [rows, cols].
        nearest_rings: rings of the empirical density.
        neighbours: how many nearest neighbours make its noise level; fewer where part of a ring is missing.
        gaussian_rings: rings of the Gaussian.
        gaussian_components: leading coordinates that it uses.
        ridge: λ, added to the Gaussian's covariance, in squared units of the coordinates, > 0.
        block: the rows to score, with a reach of half the widest window; all where None.

    Returns:
        Scores of the valid pixels of the block's core.
    """
    half = halo((*nearest_rings, *gaussian_rings))
    block = cut(valid, len(valid), half)[0] if block is None else block
    components = coordinates.shape[1]
    absent, padded_cols = block.most_around, valid.shape[1] + 2 * half
    position = np.full((block.most_rows + 2 * half, padded_cols), absent, np.int32)
    above = half - (block.core.start - block.reach.start)
    inside = position[above : above + block.reach.stop - block.reach.start, half : half + valid.shape[1]]
    inside[valid[block.reach]] = np.arange(len(coordinates), dtype=np.int32)
    pixel_rows, pixel_cols = np.nonzero(valid[block.core])
    centres = ((pixel_rows + half) * padded_cols + pixel_cols + half).astype(np.int32)
    # The last row is for the pixels that are not there.
    table = np.zeros((absent + 1, components), np.float32)
    table[: len(coordinates)] = coordinates
    scorer = _ring_scorer(
        half,
        padded_cols,
        tuple(nearest_rings),
        tuple(neighbours),
        tuple(gaussian_rings),
        min(gaussian_components, components),
    )
    shared = (jnp.asarray(table), jnp.asarray(position.ravel()), jnp.float32(ridge))
    nearest, gaussian = map_pixels(scorer, shared, jnp.asarray(centres), at_least=block.most_pixels)
    return RingScores(np.moveaxis(np.asarray(nearest), 0, -1), np.asarray(gaussian).T)


def halo(rings: Sequence[Ring]) -> int:
    """Pixels on either side that the widest of the rings looks at."""
    return max(outer for _, outer in rings) // 2


@functools.cache
def _ring_scorer(
    half: int,
    padded_cols: int,
    nearest_rings: tuple[Ring, ...],
    neighbours: tuple[int, ...],
    gaussian_rings: tuple[Ring, ...],
    components: int,
) -> PixelFunction:
    """``(table, position, ridge), centres -> ([pixels, rings, neighbours], [pixels, rings])``."""
    steps = np.arange(-half, half + 1)
    distance_in_pixels = np.maximum(np.abs(steps)[:, None], np.abs(steps)[None, :]).ravel()
    # Neighbours in order of their distance: every ring is then one slice.
    order = np.argsort(distance_in_pixels, kind="stable")
    ends = {width: int(np.count_nonzero(distance_in_pixels <= width // 2)) for width in range(1, 2 * half + 2, 2)}
    offsets = (steps[:, None] * padded_cols + steps[None, :]).ravel()[order].astype(np.int32)
    shells = sorted({ends[width] for ring in gaussian_rings for width in ring})

    def one_pixel(
        table: jax.Array, position: jax.Array, ridge: jax.Array, centre: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        around = position[centre + offsets]
        there = around < len(table) - 1
        difference = table[around] - table[position[centre]][None, :]
        squared = jnp.where(there, jnp.sum(difference**2, axis=1), jnp.inf)
        nearest = [_nearest_distances(squared[ends[inner] : ends[outer]], neighbours) for inner, outer in nearest_rings]
        leading = jnp.where(there[:, None], difference[:, :components], 0.0)
        counts, sums, products = [], [], []
        for begin, end in itertools.pairwise(shells):
            part = leading[begin:end]
            counts.append(jnp.sum(there[begin:end]))
            sums.append(jnp.sum(part, axis=0))
            products.append(part.T @ part)
        gaussian = []
        for inner, outer in gaussian_rings:
            inside = slice(shells.index(ends[inner]), shells.index(ends[outer]))
            count, total, product = (jnp.sum(jnp.stack(p[inside]), axis=0) for p in (counts, sums, products))
            gaussian.append(_mahalanobis(count, total, product, ridge))
        return jnp.stack(nearest), jnp.stack(gaussian)

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
    shared = (jnp.asarray(references.coordinates), jnp.asarray(references.places))
    pixels = (jnp.asarray(coordinates), jnp.asarray(places))
    return np.asarray(map_pixels(_scene_scorer(references.nearest), shared, pixels, at_least=at_least))


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
            return jnp.mean(jnp.sqrt(jnp.maximum(-jax.lax.top_k(-squared, nearest)[0], 0.0)))

        return map_chunks(one_pixel, pixels, _SCENE_CHUNK)

    return scene
