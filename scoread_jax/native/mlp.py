"""The residual blocks of ``network.mlp`` by ``mlp.c``, for training. Scoring by XLA is as fast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from scoread_jax.native.library import NotCompiledError, over_batch, target
from scoread_jax.network.mlp import Block, Trunk

# As in the source: spectra of a piece, the most arguments of a call.
_SPECTRA = 32
_MOST = 64
_OF_BLOCK = len(Block._fields)


@functools.cache
def trunk(hidden: int, blocks: int) -> Trunk | None:
    """What lies between the first and the last dense layer, compiled for this processor, with first derivatives.

    Args:
        hidden: width.
        blocks: number of residual blocks.

    Returns:
        None where it cannot be had.
    """
    if hidden % 32 or blocks * _OF_BLOCK + 4 > _MOST:
        return None
    try:
        forward, gradient = (target("mlp", name, (("HIDDEN", hidden),)) for name in ("trunk", "trunk_gradient"))
    except NotCompiledError:
        return None
    call = _with_gradient(forward, gradient, hidden, blocks)

    def trunk(blocks: Sequence[Block], shifts: Sequence[jax.Array], h: jax.Array) -> jax.Array:
        return call(*(array for block in blocks for array in block), jnp.concatenate(shifts)[None], h[None])[0]

    return trunk


def _with_gradient(forward: str, gradient: str, hidden: int, blocks: int) -> Callable[..., jax.Array]:
    """``(of the blocks …, shifts [n, blocks · hidden], h [n, hidden]) -> [n, hidden]``."""
    plane, parameters = hidden * _SPECTRA, blocks * _OF_BLOCK
    kept = blocks * (2 * plane + _SPECTRA) + plane

    def like(*arrays: jax.Array) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]

    @jax.custom_vjp
    def trunk(*given: jax.Array) -> jax.Array:
        return jax.ffi.ffi_call(forward, *like(given[-1]), vmap_method="sequential")(*given)

    def there(*given: jax.Array) -> tuple[jax.Array, Any]:
        pieces = jax.ShapeDtypeStruct((-(-len(given[-1]) // _SPECTRA), kept), jnp.float32)
        found, left = jax.ffi.ffi_call(forward, [*like(given[-1]), pieces], vmap_method="sequential")(*given)
        return found, (given, left)

    def back(known: tuple[tuple[jax.Array, ...], jax.Array], of_output: jax.Array) -> tuple[jax.Array, ...]:
        given, left = known
        room = jax.ShapeDtypeStruct((len(left), 2 * blocks * hidden * (2 * _SPECTRA + 1)), jnp.float32)
        call = jax.ffi.ffi_call(gradient, [*like(*given), room], vmap_method="sequential")
        return tuple(call(*given, left, of_output)[: len(given)])

    trunk.defvjp(there, back)

    return over_batch(trunk, parameters)
