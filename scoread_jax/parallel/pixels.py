"""Pixels over devices.

Pixels are independent, so a scene is cut into one part for each device and nothing is exchanged between them. Three
ways to say that to JAX stand behind one function and give the same numbers to the last bit: ``jax.jit`` with a sharded
argument, ``jax.shard_map``, and ``jax.pmap`` (https://docs.jax.dev/en/latest/migrate_pmap.html tells how they relate).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scoread_jax.errors import ConfigError
from scoread_jax.parallel.devices import Strategy, checked_strategy, device_mesh, placement
from scoread_jax.parallel.independence import partitioned_over

PixelFunction = Callable[[Any, Any], Any]
"""``(shared, pixels) -> result``: every leaf of ``pixels`` and of the result has the pixels as its leading axis."""

_AXIS = "pixels"
# Evaluations of a device in a call, twenty-five megabytes of tasks, and of all devices; see ``_calls``.
_CROWDED, _ALL_CROWDED = 1 << 14, 1 << 17
# By default XLA uses half of the longest vectors; element-wise work is a third of scoring.
_COMPILER_OPTIONS = {"cpu": {"xla_cpu_prefer_vector_width": 512}}


def map_pixels(
    fn: PixelFunction,
    shared: Any,
    pixels: Any,
    *,
    at_least: int = 0,
    evaluations: int = 0,
    strategy: Strategy | None = None,
    devices: Sequence[Any] | None = None,
) -> Any:
    """Apply ``fn`` to the pixels of a scene, spread over devices, in one compiled call; in a few where several CPU
    cores are devices and the scene is large.

    Args:
        fn: pure; the same function object for the same work, or it is compiled again.
        shared: what every device gets whole, a tree of arrays.
        pixels: what is cut up, a tree of arrays [pixels, …].
        at_least: fill up to so many pixels, so that calls with fewer share one compiled function.
        evaluations: of a network, for each pixel.
        strategy: how it is said to JAX; the result is the same. As chosen for the process where None.
        devices: of JAX; those chosen for the process where None (see ``use_devices``).

    Returns:
        What ``fn`` returns for all pixels, a tree of arrays [pixels, …]; on the host where something had to be put
        together or cut off.

    Raises:
        ConfigError: for a strategy that is not known.
    """
    strategy = placement().strategy if strategy is None else checked_strategy(strategy)
    chosen = placement().devices if devices is None else tuple(devices)
    parts = len(chosen)
    count = jax.tree.leaves(pixels)[0].shape[0]
    most = max(count, at_least)
    length = -(-most // (parts * _calls(most * evaluations, chosen)))
    compiled, shared = _compiled(fn, strategy, chosen), _placed(shared, P(), strategy, chosen)
    at_once = parts * length
    if count <= at_once:
        return _kept(compiled(shared, _placed(filled(pixels, at_once), P(_AXIS), strategy, chosen)), count)
    found = []
    for start in range(0, count, at_once):
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + at_once], pixels)
        here = min(at_once, count - start)
        # Waiting is what empties the queue.
        part = _placed(filled(part, at_once), P(_AXIS), strategy, chosen)
        found.append(jax.block_until_ready(_kept(compiled(shared, part), here)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def map_calls(
    fn: PixelFunction, shared: Any, pixels: Any, *, multiple: int, at_least: int, platforms: Sequence[str]
) -> Any:
    """``map_pixels`` for a function that JAX cannot cut, because it was compiled ahead of time: a call a device.

    Args:
        fn: for pixels in multiples of ``multiple``.
        shared: see ``map_pixels``.
        pixels: see ``map_pixels``.
        multiple: of pixels.
        at_least: see ``map_pixels``.
        platforms: that ``fn`` runs on.

    Returns:
        What ``fn`` returns for all pixels, on the host.

    Raises:
        ConfigError: where this process works on another platform.
    """
    devices = placement().devices
    if devices[0].platform not in platforms:
        raise ConfigError(
            f"this detector was exported for {', '.join(platforms)}, found {devices[0].platform} to work on; "
            "choose another --device, or export it again"
        )
    count = jax.tree.leaves(pixels)[0].shape[0]
    length = -(-max(count, at_least) // (len(devices) * multiple)) * multiple
    parts = _cut(filled(pixels, len(devices) * length), len(devices))
    found = [
        fn(jax.device_put(shared, device), jax.device_put(jax.tree.map(lambda leaf, i=i: leaf[i], parts), device))
        for i, device in enumerate(devices)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *found)


def _placed(tree: Any, spec: P, strategy: Strategy, devices: tuple[Any, ...]) -> Any:
    """Arrays where they are worked on; with several processes JAX does not bring them there from the host by itself."""
    if strategy == "pmap":
        return tree
    return jax.device_put(tree, NamedSharding(device_mesh(devices, _AXIS), spec))


@functools.cache
def _compiled(fn: PixelFunction, strategy: Strategy, devices: tuple[Any, ...]) -> Any:
    """``fn`` over the pixels, in a multiple of the number of devices."""
    options = _compiler_options(devices[0].platform)
    mesh = device_mesh(devices, _AXIS)
    whole, cut = NamedSharding(mesh, P()), NamedSharding(mesh, P(_AXIS))
    parts, placed = jax.vmap(fn, in_axes=(None, 0)), {"in_shardings": (whole, cut), "out_shardings": cut}
    partitioned = contextlib.nullcontext
    if strategy == "jit" and len(devices) > 1:
        parts = jax.vmap(fn, in_axes=(None, 0), spmd_axis_name=_AXIS)
        partitioned = functools.partial(partitioned_over, mesh)
    elif strategy == "shard_map":
        parts = jax.shard_map(parts, mesh=mesh, in_specs=(P(), P(_AXIS)), out_specs=P(_AXIS), check_vma=False)
    elif strategy == "pmap":
        # Each device sees an axis of one part, as with the others, whose programs round in the same way.
        parts, placed = jax.pmap(_axis_of_one(parts), axis_name=_AXIS, in_axes=(None, 0), devices=devices), {}

    def spread(shared: Any, pixels: Any) -> Any:
        with partitioned():
            return _joined(parts(shared, _cut(pixels, len(devices))))

    return jax.jit(spread, compiler_options=options, **placed)


def _axis_of_one(parts: PixelFunction) -> PixelFunction:
    """What is written for [parts, part, …], for one part."""
    return lambda shared, part: _joined(parts(shared, _cut(part, 1)))


@functools.cache
def _compiler_options(platform: str) -> dict[str, Any] | None:
    options = _COMPILER_OPTIONS.get(platform)
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a compiler that knows them no more
        return None
    return options


def _calls(evaluations: int, devices: tuple[Any, ...]) -> int:
    """Among how many calls the work is divided.

    Where every core is a device, none of XLA's threads is idle, and the tasks with which each product offers to share
    its work pile up until the call is over: 1.6 kB for an evaluation of the published network.
    """
    crowded = devices[0].platform == "cpu" and len(devices) > 1
    return max(1, -(-evaluations // min(len(devices) * _CROWDED, _ALL_CROWDED))) if crowded else 1


def map_chunks(fn: Callable[[Any], Any], pixels: Any, chunk: int) -> Any:
    """``vmap(fn)`` over the leading axis, ``chunk`` entries at a time; the first entry fills up the last chunk.

    ``lax.map(batch_size=…)`` would compile ``fn`` a second time for the remainder, and a chunk of another size may
    differ in the last bit.
    """
    count = jax.tree.leaves(pixels)[0].shape[0]
    chunks = -(-count // chunk)
    return first(_joined(jax.lax.map(jax.vmap(fn), _cut(filled(pixels, chunks * chunk), chunks))), count)


def filled(tree: Any, count: int) -> Any:
    """Leaves [pixels, …] as [count, …], filled up by their first entry, where they lie."""

    def filled(leaf: Any) -> Any:
        missing = count - leaf.shape[0]
        if not missing:
            return leaf
        # On the host there is nothing to compile.
        of = np if isinstance(leaf, np.ndarray) else jnp
        return of.concatenate([leaf, of.broadcast_to(leaf[:1], (missing, *leaf.shape[1:]))])

    return jax.tree.map(filled, tree)


def first(tree: Any, count: int) -> Any:
    """``filled`` undone."""
    return jax.tree.map(lambda leaf: leaf if leaf.shape[0] == count else leaf[:count], tree)


def _kept(tree: Any, count: int) -> Any:
    """``first``, on the host."""
    return jax.tree.map(lambda leaf: leaf if leaf.shape[0] == count else np.asarray(leaf)[:count], tree)


def _cut(tree: Any, parts: int) -> Any:
    """Leaves [pixels, …] as [parts, part, …]."""
    return jax.tree.map(lambda leaf: leaf.reshape(parts, leaf.shape[0] // parts, *leaf.shape[1:]), tree)


def _joined(tree: Any) -> Any:
    """``_cut`` undone."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
