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
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax.blocks import Block, cut
from scoread_jax.native import closed_form as native
from scoread_jax.native.closed_form import CHUNK
from scoread_jax.parallel import PixelFunction, independent, map_chunks, map_pixels, on_cpu

Ring = tuple[int, int]
"""(inner, outer) widths in pixels, both odd: the hole and the window."""

# Pixels that XLA works on together: what is computed of them stays in a core's cache.
_SCENE_CHUNK = 64

# Of the table in which the smallest of many values are sought.
_TABLE_ROWS = 16

# Loops in which matrices are eliminated: each starts with what the ones before left.
_ELIMINATIONS = 4


class _Image(NamedTuple):
    """A block's rows one after another, with a margin between them: what both ring-conditional scores share.

    A step to a neighbour is a shift by the same number of places for every pixel.

    Attributes:
        width: places from a row to the next.
        coordinates: zero where there is no valid pixel, [components, places].
        there: where there is one, bool [places].
        starts: first places of the chunks that are scored, int32 [chunks].
        core: where the valid pixels of the block's core lie in the chunks, int32 [pixels].
    """

    width: int
    coordinates: np.ndarray
    there: np.ndarray
    starts: np.ndarray
    core: np.ndarray


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
    image = _image(coordinates, valid, rings, block)
    scorer = _first_of(native.ring_nearest, _nearest_scorer, (image.width, tuple(rings), tuple(neighbours)))
    found = np.asarray(map_pixels(scorer, (image.coordinates, image.there), image.starts))
    return np.moveaxis(found.reshape(-1, *found.shape[2:])[image.core], 0, -1)


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
    image = _image(coordinates, valid, rings, block, takes_part)
    scorer = _first_of(native.ring_gaussian, _gaussian_scorer, (image.width, tuple(rings)))
    found = np.asarray(map_pixels(scorer, (image.coordinates, image.there, np.float32(ridge)), image.starts))
    return found.reshape(-1, len(rings))[image.core].T


def _first_of(
    compiled: Callable[..., PixelFunction | None], other: Callable[..., PixelFunction], sizes: tuple[Any, ...]
) -> PixelFunction:
    """The function compiled for the CPU at hand where it can be had, or XLA's."""
    return (compiled(*sizes) if on_cpu() else None) or other(*sizes)


def halo(rings: Sequence[Ring]) -> int:
    """Pixels on either side that the widest of the rings looks at."""
    return max(outer for _, outer in rings) // 2


def _image(
    coordinates: np.ndarray,
    valid: np.ndarray,
    rings: Sequence[Ring],
    block: Block | None,
    takes_part: np.ndarray | None = None,
) -> _Image:
    half = halo(rings)
    block = cut(valid, len(valid), half)[0] if block is None else block
    core, reach = block.core, block.reach
    width, first = valid.shape[1] + half, half * (valid.shape[1] + half + 1)
    chunks = -(-block.most_rows * width // CHUNK)
    seen = slice(max(reach.start, core.start - half), min(reach.stop, core.stop + half))

    def places(part: slice) -> np.ndarray:
        rows, cols = np.nonzero(valid[part])
        return (rows + part.start - core.start) * width + cols

    before = int(np.count_nonzero(valid[reach.start : seen.start]))
    inside = first + places(seen)
    known = slice(before, before + len(inside))
    there = np.zeros(2 * first + chunks * CHUNK, bool)
    there[inside] = True if takes_part is None else takes_part[known]
    table = np.zeros((coordinates.shape[1], len(there)), np.float32)
    table[:, inside] = coordinates[known].T
    return _Image(width, table, there, first + np.arange(0, chunks * CHUNK, CHUNK, dtype=np.int32), places(core))


def _around(half: int, width: int) -> tuple[np.ndarray, dict[int, int]]:
    """Shifts to a pixel's neighbours in order of their distance, and how many lie within each window.

    Every ring is then one slice.
    """
    steps = np.arange(-half, half + 1)
    distance = np.maximum(np.abs(steps)[:, None], np.abs(steps)[None, :]).ravel()
    ends = {window: int(np.count_nonzero(distance <= window // 2)) for window in range(1, 2 * half + 2, 2)}
    shifts = (steps[:, None] * width + steps[None, :]).ravel()
    return shifts[np.argsort(distance, kind="stable")].astype(np.int32), ends


@functools.cache
def _nearest_scorer(width: int, rings: tuple[Ring, ...], neighbours: tuple[int, ...]) -> PixelFunction:
    """``(coordinates, there), starts -> [chunks, chunk, rings, neighbours]``."""
    shifts, ends = _around(halo(rings), width)

    def scores(shared: tuple[jax.Array, jax.Array], start: jax.Array) -> jax.Array:
        coordinates, there = shared
        x = jax.lax.dynamic_slice_in_dim(coordinates, start, CHUNK, axis=1)

        def squared_to(shift: jax.Array) -> jax.Array:
            y = jax.lax.dynamic_slice_in_dim(coordinates, start + shift, CHUNK, axis=1)
            is_there = jax.lax.dynamic_slice_in_dim(there, start + shift, CHUNK)
            return jnp.where(is_there, jnp.sum((y - x) ** 2, axis=0), jnp.inf)

        def of_pixel(squared: jax.Array) -> jax.Array:
            each = [_nearest_distances(squared[ends[inner] : ends[outer]], neighbours) for inner, outer in rings]
            return jnp.stack(each)

        return jax.vmap(of_pixel)(jax.lax.map(squared_to, jnp.asarray(shifts)).T)

    return lambda shared, starts: jax.lax.map(functools.partial(scores, shared), starts)


@functools.cache
def _gaussian_scorer(width: int, rings: tuple[Ring, ...]) -> PixelFunction:
    """``(coordinates, there, ridge), starts -> [chunks, chunk, rings]``."""
    half = halo(rings)

    def scorer(shared: tuple[jax.Array, jax.Array, jax.Array], starts: jax.Array) -> jax.Array:
        coordinates, there, ridge = shared
        # With a one beside the coordinates their products hold number, sum and sum of products.
        counted = there[None].astype(coordinates.dtype)
        known = jnp.concatenate([coordinates * counted, counted])

        def scores(start: jax.Array) -> jax.Array:
            def row(step: jax.Array) -> jax.Array:
                return jax.lax.dynamic_slice_in_dim(known, start + step * width - half, CHUNK + 2 * half, axis=1)

            around = jax.lax.map(row, jnp.arange(-half, half + 1))
            x = jax.lax.dynamic_slice_in_dim(coordinates, start, CHUNK, axis=1)
            moments = []
            for inner, outer in rings:
                hole, reach = inner // 2, outer // 2
                inside, every = range(-hole, hole + 1), range(-reach, reach + 1)
                beside = [step for step in every if step not in inside]

                def down(around: jax.Array, parts: Sequence[Sequence[int]] = (beside, inside)) -> list[jax.Array]:
                    return [_sum_of_products(around, steps) for steps in parts]

                # Rows that miss the hole whole, the others on either side of it: in the difference of two windows a
                # bright pixel in the hole would leave its rounding.
                whole, cut_off = _apart(down, around)
                moments.append(_sum_of_shifted(whole, every) + _sum_of_shifted(cut_off, beside))
            return jax.lax.map(lambda ring: _mahalanobis(ring, x, ridge), jnp.stack(moments)).T

        return jax.lax.map(scores, starts)

    return scorer


def _apart(fn: Callable[[jax.Array], Any], known: jax.Array) -> Any:
    """``fn(known)``, finished before it is used.

    XLA:CPU would else compute it again for each of its uses, and knows no barrier; a choice that depends on a value is
    one.
    """

    def nothing(known: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fn, known))

    if not on_cpu():
        return fn(known)
    return jax.lax.cond(known[-1, -1, -1] >= 0, fn, nothing, known)


def _sum_of_products(around: jax.Array, steps: Sequence[int]) -> jax.Array:
    """``Σ y yᵀ`` over some of the rows [rows, size, cols]; [size, size, cols]."""
    centre = len(around) // 2
    rows = [jax.lax.index_in_dim(around, centre + step, keepdims=False) for step in steps]
    products = [jax.lax.expand_dims(row, [1]) * jax.lax.expand_dims(row, [0]) for row in rows]
    return functools.reduce(operator.add, products)


def _sum_of_shifted(sums: jax.Array, steps: Sequence[int]) -> jax.Array:
    """Sums [size, size, cols], those that lie so many steps from each pixel of the chunk added; [size, size, chunk]."""
    first = (sums.shape[-1] - CHUNK) // 2
    shifted = [jax.lax.slice_in_dim(sums, first + step, first + step + CHUNK, axis=-1) for step in steps]
    return functools.reduce(operator.add, shifted)


def _nearest_distances(squared: jax.Array, neighbours: tuple[int, ...]) -> jax.Array:
    """Mean distance to the k nearest, k scaled by the part of the ring that is there; [neighbours]."""
    there = jnp.mean(jnp.isfinite(squared))
    most = min(max(neighbours), squared.shape[0])
    nearest = _least(most)(squared[None])[0]
    distance = jnp.sqrt(jnp.where(jnp.isfinite(nearest), nearest, 0.0))
    rank = jnp.arange(most)
    means = []
    for k in neighbours:
        weight = jnp.clip(jnp.maximum(k * there, 1.0) - rank, 0.0, 1.0)
        means.append(jnp.sum(distance * weight) / jnp.sum(weight))
    return jnp.where(there > 0, jnp.stack(means), jnp.nan)


def _mahalanobis(moments: jax.Array, x: jax.Array, ridge: jax.Array) -> jax.Array:
    """``√((x − μ)ᵀ (C + λI)⁻¹ (x − μ))`` of pixels, from sums over the spectra y that μ and C are of.

    Args:
        moments: sums of the products of ``(y, 1)`` with itself, [components + 1, components + 1, pixels].
        x: [components, pixels].
        ridge: λ.

    Returns:
        [pixels]; NaN where there is no y.
    """
    count = moments[-1, -1]
    moments = moments / jnp.maximum(count, 1)[None, None]
    mean = moments[:-1, -1]
    metric = moments[:-1, :-1] - mean[:, None] * mean[None, :] + ridge * jnp.eye(len(x))[..., None]
    squared = _inverse_form(metric, x - mean, ridge)
    # What it can be at most, and what stays of it where the moments of spectra that are all alike, but far from the
    # mean of the scene, have lost their digits.
    squared = jnp.fmin(squared, jnp.sum((x - mean) ** 2, axis=0) / ridge)
    return jnp.where(count > 0, jnp.sqrt(squared), jnp.nan)


def _inverse_form(metric: jax.Array, x: jax.Array, least: jax.Array) -> jax.Array:
    """``xᵀ A⁻¹ x``: the Schur complement of A in [[A, x], [xᵀ, 0]], by elimination.

    Of all pixels at once, unlike XLA's factorisations, which take several times as long on CPUs and may wait for each
    other for ever, since each shares its work with the threads of the others (jaxlib 0.10.2 on two cores, 32 matrices
    of 40 × 40).

    Args:
        metric: A, symmetric, [size, size, pixels].
        x: [size, pixels].
        least: no eigenvalue of A is smaller, > 0; no pivot is then, but for rounding.

    Returns:
        [pixels].
    """
    column = jnp.concatenate([x, jnp.zeros_like(x[:1])])
    rest = jnp.concatenate([jnp.concatenate([metric, x[None]]), column[:, None]], axis=1)

    def eliminate(_: jax.Array, rest: jax.Array) -> jax.Array:
        row = rest[0]
        less = rest[1:, 1:] - row[1:, None] * (row[1:] / jnp.maximum(row[:1], least))[None, :]
        return jnp.pad(less, ((0, 1), (0, 1), (0, 0)))  # the shape of a loop's state

    for part in np.array_split(np.arange(len(x)), _ELIMINATIONS):
        steps = len(part)
        rest = jax.lax.fori_loop(0, steps, eliminate, rest)[: len(rest) - steps, : len(rest) - steps]
    return -rest[0, 0]


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
    return np.sort(np.asarray(_drawn(key, pixels, references), np.int32))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _drawn(key: jax.Array, pixels: int, count: int) -> jax.Array:
    return jax.random.choice(key, pixels, (count,), replace=False)


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
    scorer = _first_of(native.scene_nearest, _scene_scorer, (references.nearest,))
    return np.asarray(map_pixels(scorer, shared, (coordinates, places), at_least=at_least))


@functools.cache
def _least(count: int) -> Callable[[jax.Array], jax.Array]:
    """The smallest of each row from the smallest on, [rows, n] -> [rows, count]."""
    return independent(lambda values: -jax.lax.top_k(-values, count)[0])


@functools.cache
def _where_least(count: int) -> Callable[[jax.Array], jax.Array]:
    """Where they lie, [rows, n] -> int32 [rows, count]."""
    return independent(lambda values: jax.lax.top_k(-values, count)[1])


def _smallest(values: jax.Array, count: int) -> jax.Array:
    """The ``count`` smallest of [n], from the smallest on, as ``lax.top_k`` finds them, in less time on CPUs.

    In a table they lie in those ``count`` columns whose minima are smallest.
    """
    columns = -(-len(values) // _TABLE_ROWS)
    if columns > count:
        table = jnp.pad(values, (0, columns * _TABLE_ROWS - len(values)), constant_values=jnp.inf)
        table = table.reshape(_TABLE_ROWS, columns)
        chosen = _where_least(count)(jnp.min(table, axis=0)[None])[0]
        values = table[:, chosen].ravel()
    return _least(count)(values[None])[0]


@functools.cache
def _scene_scorer(nearest: int) -> PixelFunction:
    """``(references, places), (coordinates, place) -> [pixels]``."""

    def scene(shared: tuple[jax.Array, jax.Array], pixels: tuple[jax.Array, jax.Array]) -> jax.Array:
        references, places = shared
        missing = -len(references) % _TABLE_ROWS  # filled up once for all pixels
        lengths = jnp.pad(jnp.sum(references**2, axis=1), (0, missing), constant_values=jnp.inf)
        places = jnp.pad(places, (0, missing), constant_values=-1)
        references = jnp.pad(references, ((0, missing), (0, 0)))

        def one_pixel(pixel: tuple[jax.Array, jax.Array]) -> jax.Array:
            x, place = pixel
            squared = jnp.sum(x**2) + lengths - 2 * (references @ x)
            squared = jnp.where(places == place, jnp.inf, squared)
            return jnp.mean(jnp.sqrt(jnp.maximum(_smallest(squared, nearest), 0.0)))

        return map_chunks(one_pixel, pixels, _SCENE_CHUNK)

    return scene
