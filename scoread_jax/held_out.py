"""Stopping without labels: spectra that do not train, and the loss on them.

The loss is always taken at the same times and under the same noise (common random numbers), so that it moves with the
parameters alone and a small change can be seen.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scoread_jax import ensemble
from scoread_jax.loss import Loss
from scoread_jax.network import Variables
from scoread_jax.parallel import Trainings

_FRACTION = 0.1
_ENOUGH = 4096


class Best(NamedTuple):
    """The parameters of the lowest loss on what is held out.

    Attributes:
        params: these parameters.
        loss: theirs, the largest finite number before the first epoch, [].
        waited: epochs since, int32 [].
    """

    params: Any
    loss: jax.Array
    waited: jax.Array


def start(params: Any) -> Best:
    """Before the first epoch."""
    return Best(params, jnp.asarray(jnp.finfo(jnp.float32).max), jnp.zeros((), jnp.int32))


def batches_of(pixels: int, batch_size: int) -> int:
    """Whole batches that are held out of ``pixels`` pixels: a tenth of them, as far as that is not more than enough."""
    return max(1, round(min(_FRACTION * pixels, _ENOUGH) / batch_size))


def split(key: jax.Array, chosen: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """Draw the pixels that are held out.

    Args:
        key: of the draw.
        chosen: pixels that might train, int32 [chosen].
        batch_size: of the training.

    Returns:
        Those that train, int32 [chosen − held], in their order; those held out, int32 [batches, batch_size].
    """
    count = batch_size * batches_of(len(chosen), batch_size)
    order = jax.random.permutation(key, len(chosen))
    return chosen[jnp.sort(order[count:])], chosen[order[:count]].reshape(-1, batch_size)


@functools.partial(jax.jit, static_argnames=("loss", "members"))
def judge(
    key: jax.Array,
    best: Best,
    variables: Variables,
    held: jax.Array,
    spectra: jax.Array,
    rings: jax.Array | None,
    *,
    loss: Loss,
    members: Trainings | None = None,
) -> tuple[Best, jax.Array]:
    """Compare the parameters after an epoch with the best so far.

    Args:
        key: of times and noise, the same after every epoch.
        best: so far.
        variables: after the epoch.
        held: what is held out, int32 [batches, batch_size].
        spectra: [pixels, bands].
        rings: where each pixel's ring lies in ``spectra``, int32 [pixels, ring], or None.
        loss: of a batch, and of one member.
        members: of an ensemble, whose mean loss counts; see ``train.run_steps``.

    Returns:
        The best now, and the loss after this epoch.
    """

    def of_network(
        variables: Variables, loss: Loss, key: jax.Array, held: jax.Array, spectra: jax.Array, rings: jax.Array | None
    ) -> jax.Array:
        def of_batch(entry: tuple[jax.Array, jax.Array]) -> jax.Array:
            number, batch = entry
            ring = None if rings is None else spectra[rings[batch]]
            return loss(variables, jax.random.fold_in(key, number), spectra[batch], ring)

        return jnp.mean(jax.lax.map(of_batch, (jnp.arange(len(held)), held)))

    def of_member(each: tuple[jax.Array, Any], constants: Any, *given: Any) -> jax.Array:
        member, params = each
        return of_network({"params": params, "constants": constants}, ensemble.member_loss(loss, member), *given)

    if members is None:
        value = of_network(variables, loss, key, held, spectra, rings)
    else:
        each = members.numbers, variables["params"]
        value = jnp.mean(members.take(members.run(of_member, each, variables["constants"], key, held, spectra, rings)))
    fell = value < best.loss
    params = jax.tree.map(lambda new, old: jnp.where(fell, new, old), variables["params"], best.params)
    return Best(params, jnp.where(fell, value, best.loss), jnp.where(fell, 0, best.waited + 1)), value
