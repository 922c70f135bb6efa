"""Which noise the perturbed copies of a spectrum get: estimators of the same expectation.

The marginal law of every copy is the standard normal one for all of them, so a statistic that is a mean over copies
keeps its expectation; what changes is its variance, and how alike the errors of two pixels are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Estimator(NamedTuple):
    """How noise is drawn.

    Attributes:
        draw: ``(key, K, bands) -> [K, bands]``.
        shared: one draw for all pixels of a noise time, whose errors are then alike, so that they hardly change the
            order of the pixels (common random numbers; Glasserman & Yao 1992); else each pixel has its own.
        pairs: whether K must be even.
    """

    draw: Callable[[jax.Array, int, int], jax.Array]
    shared: bool = False
    pairs: bool = False


def independent(key: jax.Array, K: int, bands: int) -> jax.Array:
    """A key for each copy, so that the first copies are the same whatever K."""
    return jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(key, k), (bands,)))(jnp.arange(K))


def antithetic(key: jax.Array, K: int, bands: int) -> jax.Array:
    """Pairs z, −z: what is odd in z cancels in their sum. K even."""
    return _with_opposites(independent(key, K // 2, bands))


def orthogonal(key: jax.Array, K: int, bands: int) -> jax.Array:
    """Antithetic pairs along directions that are orthogonal, ``bands`` at a time, with the lengths of normal vectors.

    Orthogonal Monte Carlo (Yu et al. 2016, arXiv 1610.09072, § 3): directions of a random rotation are spread more
    evenly over the sphere than independent ones. K even.
    """
    frame_key, length_key = jax.random.split(key)
    frames = -(-K // (2 * bands))
    rotations = jax.random.orthogonal(frame_key, bands, (frames,)).reshape(frames * bands, bands)[: K // 2]
    lengths = jnp.linalg.norm(independent(length_key, K // 2, bands), axis=1, keepdims=True)
    return _with_opposites(rotations * lengths)


def _with_opposites(z: jax.Array) -> jax.Array:
    return jnp.stack([z, -z], axis=1).reshape(2 * len(z), -1)


ESTIMATORS: dict[str, Estimator] = {
    "reference": Estimator(independent),
    "antithetic": Estimator(antithetic, pairs=True),
    "shared": Estimator(independent, shared=True),
    "orthogonal": Estimator(orthogonal, shared=True, pairs=True),
}
