"""Functions of pixels of which XLA does not know by itself that they are independent."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

_mesh: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextlib.contextmanager
def partitioned_over(mesh: Mesh) -> Iterator[None]:
    """While a function is traced whose pixels XLA's partitioner spreads over devices."""
    before = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(before)


def independent(call: Callable[..., jax.Array], shared: int = 0) -> Callable[..., jax.Array]:
    """The same function, whose pixels stay on their devices.

    XLA's partitioner would gather on each device what it knows no way to cut: calls of compiled code, ``top_k``. What
    tells it more, ``custom_partitioning``, keeps a program out of the compile cache.

    Args:
        call: ``(arguments …) -> [pixels, …]``.
        shared: how many arguments come first that all pixels need whole; the others are [pixels, …].

    Returns:
        The function, which may be mapped by ``vmap`` as well.
    """

    @custom_vmap
    def whole(*given: jax.Array) -> jax.Array:
        return call(*given)

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

    @functools.wraps(call)
    def on_its_device(*given: jax.Array) -> jax.Array:
        mesh = _mesh.get()
        if mesh is None:
            return whole(*given)
        # The axis over which a mapped function is spread joins these.
        return jax.shard_map(whole, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)(*given)

    return on_its_device


def all_batched(size: int, batched: list[bool], given: tuple[jax.Array, ...]) -> list[jax.Array]:
    """Arguments of a function that is mapped, each with the axis that some of them lack."""
    return [
        array if many else jnp.broadcast_to(array, (size, *array.shape))
        for array, many in zip(given, batched, strict=True)
    ]


def merged(array: jax.Array) -> jax.Array:
    """[size, n, …] as [size · n, …]."""
    return array.reshape(-1, *array.shape[2:])
