"""The spatial condition: a ring of neighbours, and the neighbour most like the spectrum.

ScoreAD's conditional variant (arXiv 2601.12379) describes a spectrum's surroundings by the ring of pixels inside an
``outer`` × ``outer`` window and outside an ``inner`` × ``inner`` one. Of that ring the network is told only about the
pixel nearest to the (noisy) spectrum.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax.errors import ConfigError

# Below this norm a vector has no direction (torch.nn.functional.normalize uses the same bound).
_MIN_NORM = 1e-12


def ring_offsets(outer: int, inner: int) -> np.ndarray:
    """Row and column offsets of the ring, row-major.

    Args:
        outer: width of the window in pixels, odd.
        inner: width of the hole in pixels, odd, < ``outer``.

    Returns:
        int32 [ring, 2] with ring = outer² − inner².

    Raises:
        ConfigError: for widths that are not odd, or a hole as wide as the window.
    """
    if not (outer % 2 == 1 and inner % 2 == 1 and 0 < inner < outer):
        raise ConfigError(
            f"the ring needs odd widths with 0 < inner < outer, found outer = {outer} and inner = {inner}"
        )
    half = np.arange(outer, dtype=np.int32) - outer // 2
    offsets = np.stack(np.meshgrid(half, half, indexing="ij"), axis=-1).reshape(-1, 2)
    return offsets[np.abs(offsets).max(axis=1) > inner // 2]


def ring_indices(valid: np.ndarray, outer: int, inner: int, pixels: np.ndarray | None = None) -> np.ndarray:
    """For each of some valid pixels, where its ring lies in the list of the scene's valid pixels.

    Beyond the scene's edge the ring is reflected (the edge pixel itself is not repeated, as ``numpy.pad`` does with
    ``mode="reflect"``). Ring pixels that are masked are replaced by the ring's first valid pixel, which changes
    nothing for a nearest-neighbour condition; a ring with no valid pixel at all takes the nearest valid pixel of the
    scene outside the hole.

    Args:
        valid: bool [rows, cols].
        outer: width of the window in pixels, odd, at most 2 · min(rows, cols) − 1.
        inner: width of the hole, odd, < ``outer``.
        pixels: their places in the list of valid pixels (row-major); all of them where None.

    Returns:
        int32 [pixels, ring].

    Raises:
        ConfigError: for a window that does not fit the scene.
    """
    rows, cols = valid.shape
    offsets = ring_offsets(outer, inner)
    if outer // 2 >= min(rows, cols):
        raise ConfigError(
            f"a ring of outer width {outer} does not fit a scene of {rows} × {cols} pixels: "
            f"choose context.outer of at most {2 * min(rows, cols) - 1}"
        )
    position = np.full(valid.shape, -1, np.int32)
    position[valid] = np.arange(np.count_nonzero(valid), dtype=np.int32)
    valid_rows, valid_cols = np.nonzero(valid)
    pixels = np.arange(len(valid_rows)) if pixels is None else pixels
    ring = position[
        _reflect(valid_rows[pixels, None] + offsets[:, 0], rows),
        _reflect(valid_cols[pixels, None] + offsets[:, 1], cols),
    ]
    if valid.all():
        return ring
    known = ring >= 0
    first = np.where(known.any(axis=1), ring[np.arange(len(ring)), known.argmax(axis=1)], -1)
    for lonely in np.flatnonzero(first < 0):
        first[lonely] = _nearest_outside_hole(valid_rows, valid_cols, int(pixels[lonely]), inner)
    return np.where(known, ring, first[:, None]).astype(np.int32)


def nearest_condition(x: jax.Array, ring: jax.Array | None) -> jax.Array:
    """The ring pixel nearest to ``x``, its cosine with ``x`` and its distance from ``x``.

    The parameter-free condition encoder of ScoreAD: the nearest is by Euclidean distance, ties go to the first.

    Args:
        x: spectrum, usually a noisy one, [bands].
        ring: clean neighbours, [ring, bands].

    Returns:
        [bands + 2].

    Raises:
        ConfigError: where there is no ring.
    """
    if ring is None:
        raise ConfigError("this network was built with a spatial condition: give it a context [ring, bands]")
    distance = jnp.sqrt(jnp.sum((ring - x[None, :]) ** 2, axis=-1))
    nearest = jnp.argmin(distance)
    neighbour = ring[nearest]
    cosine = jnp.vdot(x, neighbour) / (
        jnp.maximum(jnp.linalg.norm(x), _MIN_NORM) * jnp.maximum(jnp.linalg.norm(neighbour), _MIN_NORM)
    )
    return jnp.concatenate([neighbour, jnp.stack([cosine, distance[nearest]])])


def _reflect(index: np.ndarray, length: int) -> np.ndarray:
    index = np.abs(index)
    return np.where(index >= length, 2 * (length - 1) - index, index)


def _nearest_outside_hole(rows: np.ndarray, cols: np.ndarray, pixel: int, inner: int) -> int:
    row_distance, col_distance = np.abs(rows - rows[pixel]), np.abs(cols - cols[pixel])
    outside = np.maximum(row_distance, col_distance) > inner // 2
    if not outside.any():
        raise ConfigError(
            f"every valid pixel lies within the hole of width {inner} around another: "
            "there is no background to compare with; use context.outer = 0"
        )
    squared = np.where(
        outside,
        row_distance.astype(np.int64) ** 2 + col_distance.astype(np.int64) ** 2,
        np.iinfo(np.int64).max,
    )
    return int(squared.argmin())
