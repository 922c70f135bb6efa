"""Several networks of one recipe, trained in one compiled loop, whose scores are averaged.

To whoever scores an ensemble is one network, its parameters stacked. The mean of scores is the score of the members'
normalised geometric mean density.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from scoread_jax.loss import Loss
from scoread_jax.network import Apply, Network, Variables
from scoread_jax.parallel import ONE_DEVICE, Batches


def _axes(variables: Variables) -> dict[str, int | None]:
    """Constants are shared: the variances of the data, and the frequencies of the time embedding."""
    return {name: None if name == "constants" else 0 for name in variables}


@functools.cache
def networks(network: Network, members: int) -> Network:
    """Members with initial parameters of their own.

    Args:
        network: of one member.
        members: how many.

    Returns:
        Parameters have a leading axis [members]; ``apply`` is that of one member.
    """

    def init(key: jax.Array) -> Variables:
        keys = jax.random.split(key, members)
        return {"params": jax.vmap(network.init)(keys)["params"], "constants": network.init(keys[0])["constants"]}

    def at_time(variables: Variables, t: jax.Array) -> Variables:
        return jax.vmap(network.at_time, in_axes=(_axes(variables), None))(variables, t)

    return network._replace(init=jax.jit(init), evaluation_bytes=network.evaluation_bytes * members, at_time=at_time)


@functools.cache
def mean_score(score: Apply) -> Apply:
    """The mean of the members' scores.

    Args:
        score: of one member.

    Returns:
        ``score(variables of all members, x [bands], t [], context) -> [bands]``.
    """

    def mean(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        return jnp.mean(jax.vmap(score, in_axes=(_axes(variables), None, None, None))(variables, x, t, context), axis=0)

    return mean


def member_loss(loss: Loss, member: jax.Array | int) -> Loss:
    """The loss of one member: on the batch that all see, with times and noise of its own.

    Args:
        loss: of a network.
        member: its number.
    """

    def own(
        variables: Variables,
        key: jax.Array,
        x: jax.Array,
        rings: jax.Array | None,
        batches: Batches = ONE_DEVICE,
        average: Variables | None = None,
    ) -> jax.Array:
        return loss(variables, jax.random.fold_in(key, member), x, rings, batches, average)

    return own
