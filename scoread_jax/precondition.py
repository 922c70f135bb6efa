"""From a network's raw output to a score.

A preconditioning is ``(sde, apply) -> score`` with ``score(variables, x, t, context)``; the raw network never sees
the noise process.
"""

from __future__ import annotations

import functools

import jax

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
