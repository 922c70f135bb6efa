"""Scores in closed form by ``closed_form.c``; what they are, and the same for XLA: ``scoread_jax.closed_form``."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from scoread_jax.native.library import NotCompiledError, over_pixels, target
from scoread_jax.parallel import PixelFunction

Rings = tuple[tuple[int, int], ...]
"""(inner, outer) widths in pixels, both odd."""

CHUNK = 128
"""Pixels that are worked on together, a multiple of the longest vectors: what is computed of them stays in a cache."""


def known_as(function: str) -> str:
    """What XLA knows a function of the source by.

    Raises:
        NotCompiledError: where it cannot be compiled.
    """
    return target("closed_form", function, ())


@functools.cache
def ring_nearest(width: int, rings: Rings, neighbours: tuple[int, ...]) -> PixelFunction | None:
    """Lengths of the scores of the rings' empirical densities.

    Args:
        width: places from a row of the image to the next.
        rings: to search for neighbours.
        neighbours: how many.

    Returns:
        ``(coordinates, there), starts -> [chunks, chunk, rings, neighbours]``; None where it cannot be had.
    """
    return _of_rings("ring_nearest", width, rings, neighbours)


@functools.cache
def ring_gaussian(width: int, rings: Rings) -> PixelFunction | None:
    """Lengths of the scores of Gaussians fitted to the rings.

    Args:
        width: see ``ring_nearest``.
        rings: that Gaussians are fitted to.

    Returns:
        ``(coordinates, there, ridge), starts -> [chunks, chunk, rings]``; None where it cannot be had.
    """
    return _of_rings("ring_gaussian", width, rings, None)


@functools.cache
def scene_nearest(nearest: int) -> PixelFunction | None:
    """Mean distances to the nearest of some references.

    Args:
        nearest: how many.

    Returns:
        ``(references, places), (coordinates, place) -> [pixels]``; None where it cannot be had.
    """
    try:
        call = over_pixels(known_as("scene_nearest"), 3, functools.partial(_made, ()))
    except NotCompiledError:
        return None
    count = np.array([nearest], np.int32)

    def scene(shared: tuple[jax.Array, jax.Array], pixels: tuple[jax.Array, jax.Array]) -> jax.Array:
        return call(*shared, count, *pixels)

    return scene


def _of_rings(function: str, width: int, rings: Rings, neighbours: tuple[int, ...] | None) -> PixelFunction | None:
    counts = () if neighbours is None else (len(neighbours),)
    try:
        call = over_pixels(known_as(function), 5, functools.partial(_made, (CHUNK, len(rings), *counts)))
    except NotCompiledError:
        return None
    half = max(outer for _, outer in rings) // 2
    decides = np.array([width, half, CHUNK], np.int32), np.array(rings, np.int32)

    def scorer(shared: tuple[jax.Array, ...], starts: jax.Array) -> jax.Array:
        coordinates, there, *ridge = shared
        asked = ridge[0] if neighbours is None else np.array(neighbours, np.int32)
        return call(coordinates, there, *decides, asked, starts)

    return scorer


def _made(shape: tuple[int, ...], *given: Any) -> tuple[int, ...]:
    del given
    return shape
