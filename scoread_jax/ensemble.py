"""Several networks of one recipe, trained in one compiled loop, whose scores are averaged.

To everything else an ensemble is one network: its parameters are stacked, its loss is that of all members, and the
optimizer works entry by entry. The mean of scores is the score of the members' normalised geometric mean density.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

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


@functools.cache
def total_loss(loss: Loss, members: int) -> Loss:
    """The losses of all members on one batch, each with times and noise of its own: their mean, to be looked at.

    Its gradient is that of their sum: for each member's parameters that of its own loss.

    Args:
        loss: of one member.
        members: how many.
    """

    def total(
        variables: Variables,
        key: jax.Array,
        x: jax.Array,
        rings: jax.Array | None,
        batches: Batches = ONE_DEVICE,
        average: Variables | None = None,
    ) -> jax.Array:
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(members))
        losses = jax.vmap(
            lambda variables, key, average: loss(variables, key, x, rings, batches, average),
            in_axes=(_axes(variables), 0, None if average is None else _axes(average)),
        )(variables, keys, average)
        return jnp.sum(losses) + jax.lax.stop_gradient(jnp.mean(losses) - jnp.sum(losses))

    return total


def optimizers(one: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimizer for each member: what it does with one's gradient does not depend on the others'.

    Args:
        one: of one member.
    """

    def update(updates: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
        return jax.vmap(one.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(one.init), update)
