"""Training batches over devices: each works on its part, and the gradients are averaged.

The same noise is drawn, whatever the devices, so training on several differs from training on one by the order in
which sums are taken and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scoread_jax.errors import ConfigError
from scoread_jax.parallel.devices import Strategy, device_mesh, many, placement, whole_on_each

_AXIS = "batch"


class Batches(NamedTuple):
    """How a batch is spread. Its methods are for use inside of a compiled function.

    With ``jit`` the function sees whole batches, and JAX is told how their entries lie; with ``shard_map`` and ``pmap``
    it sees one device's part.

    Attributes:
        devices: of JAX; none: all on one.
        strategy: how JAX is told.
    """

    devices: tuple[Any, ...] = ()
    strategy: Strategy = "jit"

    @property
    def _in_parts(self) -> bool:
        return bool(self.devices) and self.strategy != "jit"

    def run(self, fn: Callable[..., Any], *whole: Any) -> Any:
        """``fn(*whole)``, which every device is given whole and of which every device returns the same."""
        if not self._in_parts:
            return fn(*whole)
        if self.strategy == "shard_map":
            mesh = device_mesh(self.devices, _AXIS)
            return jax.shard_map(fn, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)(*whole)
        axes = (0, *[None] * len(whole))
        mapped = jax.pmap(
            lambda _, *whole: fn(*whole), axis_name=_AXIS, in_axes=axes, out_axes=None, devices=self.devices
        )
        return mapped(jnp.arange(len(self.devices)), *whole)

    def place(self, tree: Any) -> Any:
        """Arrays, whole on every device; outside of a compiled function."""
        return whole_on_each(self.devices, _AXIS, tree) if self.devices else tree

    def whole(self, part: int) -> int:
        """Entries in a batch of which this function sees so many."""
        return part * len(self.devices) if self._in_parts else part

    def part(self, batch: jax.Array) -> jax.Array:
        """What this function sees of a batch [batch, …]."""
        if not self.devices:
            return batch
        if not self._in_parts:
            sharding = NamedSharding(device_mesh(self.devices, _AXIS), P(_AXIS))
            return jax.lax.with_sharding_constraint(batch, sharding)
        length = batch.shape[0] // len(self.devices)
        return jax.lax.dynamic_slice_in_dim(batch, jax.lax.axis_index(_AXIS) * length, length)

    def gather(self, part: jax.Array) -> jax.Array:
        """All parts, one after the other: ``part`` undone."""
        return jax.lax.all_gather(part, _AXIS, tiled=True) if self._in_parts else part

    def mean(self, tree: Any) -> Any:
        """The mean over the devices."""
        return jax.lax.pmean(tree, _AXIS) if self._in_parts else tree


ONE_DEVICE = Batches()


def spread_batches(count: int) -> Batches:
    """Spread batches over so many of the devices that were chosen for the process.

    Where several processes run together, over as many devices of each.

    Raises:
        ConfigError: where there are fewer.
    """
    if count == 1:
        return ONE_DEVICE
    chosen, processes = placement(), jax.process_count()
    available = len(chosen.devices) * processes
    if count > available or count % processes:
        raise ConfigError(
            f"train.devices must be at most the {many(chosen.devices)} to work on"
            + (f", times {processes} processes, and a multiple of those" if processes > 1 else "")
            + f", found {count}; choose fewer"
        )
    each, kind = count // processes, chosen.devices[0].platform
    if processes == 1:
        return Batches(chosen.devices[:each], chosen.strategy)
    if chosen.strategy == "pmap":
        raise ConfigError("train.devices of several processes expects --strategy jit or shard_map, found pmap")
    everywhere = [[d for d in jax.devices(kind) if d.process_index == process][:each] for process in range(processes)]
    return Batches(tuple(device for part in everywhere for device in part), chosen.strategy)
