"""Devices: the only module that names one.

Pixels are independent, so a scene is cut into one part for each device and nothing is exchanged between them. Three
ways to say that to JAX stand behind one function and give the same numbers to the last bit: ``jax.jit`` with a sharded
argument, ``jax.shard_map``, and ``jax.pmap`` (https://docs.jax.dev/en/latest/migrate_pmap.html tells how they relate).
One device and several may differ in the last bit of a sum.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from scoread_jax.errors import ConfigError

Strategy = Literal["jit", "shard_map", "pmap"]
PixelFunction = Callable[[Any, Any], Any]
"""``(shared, pixels) -> result``: every leaf of ``pixels`` and of the result has the pixels as its leading axis."""

_AXIS = "pixels"


def map_pixels(
    fn: PixelFunction,
    shared: Any,
    pixels: Any,
    *,
    strategy: Strategy = "jit",
    devices: Sequence[Any] | None = None,
) -> Any:
    """Apply ``fn`` to the pixels of a scene, spread over devices, in one compiled call.

    Args:
        fn: pure; the same function object for the same work, or it is compiled again.
        shared: what every device gets whole, a tree of arrays.
        pixels: what is cut up, a tree of arrays [pixels, …].
        strategy: how it is said to JAX; the result is the same.
        devices: of JAX; all local ones where None.

    Returns:
        What ``fn`` returns for all pixels, a tree of arrays [pixels, …].

    Raises:
        ConfigError: for a strategy that is not known.
    """
    if strategy not in ("jit", "shard_map", "pmap"):
        raise ConfigError(f"strategy must be one of jit, shard_map, pmap, found {strategy!r}")
    chosen = tuple(jax.local_devices() if devices is None else devices)
    parts = len(chosen)
    count = jax.tree.leaves(pixels)[0].shape[0]
    found = _compiled(fn, strategy, chosen)(shared, _cut(pixels, parts, -(-count // parts)))
    return _join(found, count)


@functools.cache
def _compiled(fn: PixelFunction, strategy: Strategy, devices: tuple[Any, ...]) -> Any:
    """``fn`` over parts [devices, part, …]."""
    if strategy == "pmap":
        return jax.pmap(fn, axis_name=_AXIS, in_axes=(None, 0), devices=devices)
    mesh = jax.make_mesh((len(devices),), (_AXIS,), devices=devices, axis_types=(AxisType.Auto,))
    whole, cut = NamedSharding(mesh, P()), NamedSharding(mesh, P(_AXIS))
    parts = jax.vmap(fn, in_axes=(None, 0))
    if strategy == "shard_map":
        parts = jax.shard_map(parts, mesh=mesh, in_specs=(P(), P(_AXIS)), out_specs=P(_AXIS), check_vma=False)
    return jax.jit(parts, in_shardings=(whole, cut), out_shardings=cut)


def map_chunks(fn: Callable[[Any], Any], pixels: Any, chunk: int) -> Any:
    """``vmap(fn)`` over the leading axis, ``chunk`` entries at a time; the first entry fills up the last chunk.

    ``lax.map(batch_size=…)`` would compile ``fn`` a second time for the remainder.
    """
    count = jax.tree.leaves(pixels)[0].shape[0]
    chunk = min(chunk, count)
    chunks = -(-count // chunk)
    return _join(jax.lax.map(jax.vmap(fn), _cut(pixels, chunks, chunk)), count)


def _cut(tree: Any, parts: int, length: int) -> Any:
    """Leaves [count, …] as [parts, length, …]; their first entry fills up the last part."""

    def cut(leaf: jax.Array) -> jax.Array:
        fill = jnp.broadcast_to(leaf[:1], (parts * length - leaf.shape[0], *leaf.shape[1:]))
        return jnp.concatenate([leaf, fill]).reshape(parts, length, *leaf.shape[1:])

    return jax.tree.map(cut, tree)


def _join(tree: Any, count: int) -> Any:
    """Leaves [parts, length, …] as [count, …]: ``_cut`` undone."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], tree)


def use_all_cores() -> None:
    """Make a device of every CPU core that this process may use, so that scoring fills them all.

    Only before JAX has started; where JAX_NUM_CPU_DEVICES says otherwise, or JAX runs, nothing changes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # JAX has started
        return


def use_compile_cache() -> None:
    """Keep compiled functions between runs, in the user's cache, unless JAX is told where already."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.values["jax_compilation_cache_dir"]:
        return
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(Path(home) / "scoread_jax" / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
