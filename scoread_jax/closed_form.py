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
) -> RingScores:
    """Both ring-conditional scores of a scene, in one compiled call.

    Args:
        coordinates: of the valid pixels in row-major order, centred, [pixels, components].
        valid: bool [rows, cols].
        nearest_rings: rings of the empirical density.
        neighbours: how many nearest neighbours make its noise level; fewer where part of a ring is missing.
        gaussian_rings: rings of the Gaussian.
        gaussian_components: leading coordinates that it uses.
        ridge: λ as a fraction of the scene's total variance in those coordinates, > 0.

    Returns:
        Scores of the valid pixels.
    """
    rows, cols = valid.shape
    half = max(outer for _, outer in (*nearest_rings, *gaussian_rings)) // 2
    padded_cols = cols + 2 * half
    position = np.full((rows + 2 * half, padded_cols), len(coordinates), np.int32)
    position[half : half + rows, half : half + cols][valid] = np.arange(len(coordinates), dtype=np.int32)
    pixel_rows, pixel_cols = np.nonzero(valid)
    centres = ((pixel_rows + half) * padded_cols + pixel_cols + half).astype(np.int32)
    gaussian = np.asarray(coordinates[:, :gaussian_components], np.float64)
    scorer = _ring_scorer(
        half,
        padded_cols,
        tuple(nearest_rings),
        tuple(neighbours),
        tuple(gaussian_rings),
        min(gaussian_components, coordinates.shape[1]),
    )
    # One row more, for the pixels that are not there.
    table = jnp.concatenate([jnp.asarray(coordinates), jnp.zeros((1, coordinates.shape[1]), jnp.float32)])
    ridge = jnp.float32(ridge * max(gaussian.var(axis=0).sum(), np.finfo(np.float32).tiny))
    nearest, mahalanobis = map_pixels(scorer, (table, jnp.asarray(position.ravel()), ridge), jnp.asarray(centres))
    return RingScores(np.moveaxis(np.asarray(nearest), 0, -1), np.asarray(mahalanobis).T)


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


def scene_scores(key: jax.Array, coordinates: np.ndarray, neighbours: int, references: int) -> np.ndarray:
    """Length of the score of the whole scene's empirical density: the mean distance to the nearest spectra.

    Args:
        key: draws the reference spectra.
        coordinates: [pixels, components].
        neighbours: how many nearest spectra of the scene; fewer, in proportion, of a sample of it, but at least 3.
        references: spectra to compare with, drawn without replacement where the scene has more.

    Returns:
        [pixels]; a spectrum is not its own neighbour.
    """
    pixels = len(coordinates)
    count = min(references, pixels)
    places = jnp.arange(pixels) if count == pixels else jax.random.choice(key, pixels, (count,), replace=False)
    wanted = min(max(3, round(neighbours * count / pixels)), count - 1)
    table = jnp.asarray(coordinates)
    shared = (table[places], places.astype(jnp.int32))
    return np.asarray(map_pixels(_scene_scorer(wanted), shared, (table, jnp.arange(pixels, dtype=jnp.int32))))


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
