"""From a network's raw output to a score.

A preconditioning is ``(sde, apply) -> score`` with ``score(variables, x, t, context)``; the raw network never sees
the noise process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from scoread_jax.network import Apply, Variables
from scoread_jax.sde import SDE


@functools.cache
def over_std(sde: SDE, apply: Apply) -> Apply:
    """The published parametrisation ``s(x, t) = F(x, t) / std(t)`` (arXiv 2601.12379; Song's score-SDE tutorial).

    Args:
        sde: the forward process.
        apply: the raw network, per spectrum.

    Returns:
        ``score(variables, x [bands], t [], context) -> [bands]``.
    """

    def score(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        _, std = sde.marginal(t)
        return apply(variables, x, t, context) / std

    return score


@functools.cache
def wiener(sde: SDE, apply: Apply) -> Apply:
    """The best linear denoiser, and a network for what it leaves: Karras et al.'s preconditioning per coordinate.

    With the data's variances ``v``, ``σ = std / scale`` and ``x' = x / scale`` the denoiser is
    ``D = v/(v + σ²) · x' + √(vσ²/(v + σ²)) · F(x'/√(v + σ²), t)`` (Karras et al. 2022, arXiv 2206.00364, eq. 7 and
    table 1, with σ_data² replaced by ``v``), and the score ``(scale · D − x) / std²``. Where F is zero this is the
    score of a Gaussian.

    Args:
        sde: the forward process.
        apply: the raw network, per spectrum. ``variables["constants"]["variance"]`` [bands] holds ``v``.

    Returns:
        ``score(variables, x [bands], t [], context) -> [bands]``.
    """
    return _denoiser(sde, apply, lambda variance: variance)


@functools.cache
def edm(sde: SDE, apply: Apply) -> Apply:
    """Karras et al.'s preconditioning as published: ``wiener`` with one σ_data² for all coordinates, their mean.

    c_skip = σ_data²/(σ² + σ_data²), c_out = σ σ_data/√(σ² + σ_data²), c_in = 1/√(σ² + σ_data²) (arXiv 2206.00364,
    table 1). The same as ``wiener`` for data of equal variance in all coordinates. Where the network's Jacobian is
    symmetric (``network.energy``), so is that of this score, and it is the gradient of a density; with ``wiener`` it
    is not, for each coordinate has a scale of its own.

    Args:
        sde: the forward process.
        apply: the raw network, per spectrum. ``variables["constants"]["variance"]`` [bands] holds the variances.

    Returns:
        ``score(variables, x [bands], t [], context) -> [bands]``.
    """
    return _denoiser(sde, apply, jnp.mean)


def _denoiser(sde: SDE, apply: Apply, data_variance: Callable[[jax.Array], jax.Array]) -> Apply:
    def score(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        scale, std = sde.marginal(t)
        v, noise = data_variance(variables["constants"]["variance"]), (std / scale) ** 2
        # Written for the difference D − x', which keeps its digits where the noise is small.
        linear = -noise / (v + noise) * (x / scale)
        learned = jnp.sqrt(v * noise / (v + noise)) * apply(variables, x / scale / jnp.sqrt(v + noise), t, context)
        return scale * (linear + learned) / std**2

    return score


PRECONDITIONINGS = {"over_std": over_std, "wiener": wiener, "edm": edm}
