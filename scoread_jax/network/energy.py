"""A network that is the gradient of a scalar: its Jacobian is symmetric, as that of every true score."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from scoread_jax.network import Network, Variables
from scoread_jax.network.mlp import mlp


@functools.cache
def energy(
    bands: int, *, conditional: bool = False, hidden: int = 128, blocks: int = 3, embedding: int = 64
) -> Network:
    """``∇_x ⟨x, f(x, t)⟩`` of the residual MLP f; about twice its work.

    A field that is a gradient everywhere, as energy-based score models are (Salimans & Ho 2021, Should EBMs model the
    energy or the score?). With the preconditionings ``over_std`` and ``edm`` the score is one too.

    Args:
        bands: length of a spectrum, or number of coordinates.
        conditional: whether ``apply`` is given a ring of neighbours.
        hidden: width.
        blocks: number of residual blocks.
        embedding: Fourier features of the logarithm of time, even.

    Returns:
        ``apply(variables, x [bands], t [], context) -> [bands]``.

    Raises:
        ConfigError: for sizes that do not fit together.
    """
    inner = mlp(bands, conditional=conditional, hidden=hidden, blocks=blocks, embedding=embedding)

    def apply(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        return jax.grad(lambda y: jnp.vdot(y, inner.apply(variables, y, t, context)))(x)

    return Network(inner.init, apply, 3 * inner.evaluation_bytes)
