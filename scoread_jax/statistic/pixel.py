"""What a statistic is given: one pixel, as the score model sees it at one noise time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scoread_jax.ode import ScoreFunction
from scoread_jax.sde import SDE


class Perturbed(NamedTuple):
    """One pixel seen by the score model at one noise time.

    Attributes:
        score: scores of the K perturbed copies ``scale · x + std · z``, [K, bands].
        noise: the standard normal noise ``z`` of each copy, [K, bands].
        std: standard deviation of the perturbation kernel, [].
        clean_score: score at ``scale · x``, without noise, [bands].
        spectrum: the pixel's spectrum ``x``, as the network sees it, [bands].
        t: the noise time, [].
        sde: the forward process.
        score_at: the score function in this pixel's surroundings, ``(x [bands], t []) -> [bands]``, for statistics
            that ask for more: derivatives, other times, paths.
        score_alone: the same for a network told nothing of the surroundings (its ring is all zeros); equal to
            ``score_at`` where the network is not conditional.
    """

    score: jax.Array
    noise: jax.Array
    std: jax.Array
    clean_score: jax.Array
    spectrum: jax.Array
    t: jax.Array
    sde: SDE
    score_at: ScoreFunction
    score_alone: ScoreFunction

    @property
    def probes(self) -> jax.Array:
        """Directions whose mean ``zᵀ J z`` is the trace of ``J``, [probes, bands].

        The noise itself (Hutchinson's estimate, unbiased); or, where K is no less than the number of bands, as many
        multiples of the unit vectors, which cost no more and are exact.
        """
        K, bands = self.noise.shape
        return jnp.sqrt(bands) * jnp.eye(bands) if bands <= K else self.noise


Statistic = Callable[[Perturbed], jax.Array]
"""``Perturbed -> []``, higher = more anomalous."""
