"""Functions of pixels of which XLA does not know by itself that they are independent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import ArrayMapping, SdyShardingRule, custom_partitioning
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

_PIXELS = "pixels"


def independent(call: Callable[..., jax.Array], shared: int = 0) -> Callable[..., jax.Array]:
    """The same function, whose pixels stay on their devices.

    XLA's partitioner would gather on each device what it knows no way to cut: calls of compiled code, ``top_k``.

    Args:
        call: ``(arguments …) -> [pixels, …]``.
        shared: how many arguments come first that all pixels need whole; the others are [pixels, …].

    Returns:
        The function, which may be mapped by ``vmap`` as well.
    """
    spread = custom_partitioning(call)
    spread.def_partition(
        partition=functools.partial(_parts, call),
        infer_sharding_from_operands=lambda mesh, given, made: NamedSharding(mesh, P(*given[shared].sharding.spec[:1])),
        sharding_rule=functools.partial(_rule, shared),
    )

    @custom_vmap
    def whole(*given: jax.Array) -> jax.Array:
        return spread(*given)

    @whole.def_vmap
    def more(size: int, batched: list[bool], *given: jax.Array) -> tuple[jax.Array, bool]:
        if any(batched[:shared]):  # one after the other
            axes = [array for array, many in zip(given, batched, strict=True) if many]

            def one(parts: list[jax.Array]) -> jax.Array:
                left = iter(parts)
                return whole(*(next(left) if many else array for array, many in zip(given, batched, strict=True)))

            return jax.lax.map(one, axes), True
        each = all_batched(size, batched[shared:], given[shared:])
        found = whole(*given[:shared], *map(merged, each))
        return found.reshape(*each[0].shape[:2], *found.shape[1:]), True

    return whole


def all_batched(size: int, batched: list[bool], given: tuple[jax.Array, ...]) -> list[jax.Array]:
    """Arguments of a function that is mapped, each with the axis that some of them lack."""
    return [
        array if many else jnp.broadcast_to(array, (size, *array.shape))
        for array, many in zip(given, batched, strict=True)
    ]


def merged(array: jax.Array) -> jax.Array:
    """[size, n, …] as [size · n, …]."""
    return array.reshape(-1, *array.shape[2:])


def _parts(call: Any, mesh: Any, arguments: Any, result: Any) -> Any:
    return mesh, call, result.sharding, tuple(argument.sharding for argument in arguments)


def _rule(shared: int, mesh: Any, arguments: Any, results: Any) -> SdyShardingRule:
    """Pixels may be cut; all else is needed whole."""
    del mesh
    factors = [[f"w{i}_{axis}" for axis in range(len(kind.shape))] for i, kind in enumerate((*arguments, *results))]
    for cut in factors[shared:]:
        cut[0] = _PIXELS
    needed = dict.fromkeys(factor for one in factors for factor in one if factor != _PIXELS)
    mappings = [ArrayMapping(*one) for one in factors]
    return SdyShardingRule(
        tuple(mappings[: len(arguments)]), tuple(mappings[len(arguments) :]), need_replication_factors=tuple(needed)
    )
