"""What is computed from the perturbed scores of one pixel: pure functions, one per idea.

A statistic is ``Perturbed -> scalar``, higher = more anomalous. What a statistic does not use is not computed: the
compiler removes the perturbations of ``clean_norm`` and the clean pass of ``unit_sum``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Perturbed(NamedTuple):
    """One pixel seen by the score model at one noise time.

    Attributes:
        score: scores of the K perturbed copies, [K, bands].
        noise: the standard normal noise of each copy, [K, bands].
        std: standard deviation of the perturbation kernel, [].
        clean_score: score at the unperturbed spectrum, [bands].
    """

    score: jax.Array
    noise: jax.Array
    std: jax.Array
    clean_score: jax.Array


Statistic = Callable[[Perturbed], jax.Array]


def unit_sum(pixel: Perturbed) -> jax.Array:
    """``‖Σ_k s_k / ‖s_k‖‖``, in [0, K]: the published score (arXiv 2601.12379).

    On a manifold the unit scores point away from each copy's own noise and cancel to about √K; off it they agree and
    add up to as much as K. A score of norm zero has no direction and counts nothing.
    """
    norm = jnp.linalg.norm(pixel.score, axis=-1, keepdims=True)
    return jnp.linalg.norm(jnp.sum(pixel.score / jnp.where(norm > 0, norm, 1.0), axis=0))


def mean_score(pixel: Perturbed) -> jax.Array:
    """``‖mean_k s_k‖ ≥ 0``: the norm of the score of the twice-smoothed density."""
    return jnp.linalg.norm(jnp.mean(pixel.score, axis=0))


def clean_norm(pixel: Perturbed) -> jax.Array:
    """``‖s(x, t)‖ ≥ 0`` at the unperturbed spectrum: one evaluation a pixel.

    The components of MSMA's vector (Mahmood et al. 2021, arXiv 2010.13132).
    """
    return jnp.linalg.norm(pixel.clean_score)


STATISTICS: dict[str, Statistic] = {
    "unit_sum": unit_sum,
    "mean_score": mean_score,
    "clean_norm": clean_norm,
}
