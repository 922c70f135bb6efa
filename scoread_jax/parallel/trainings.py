"""Independent trainings over devices: the members of an ensemble, or runs of one recipe.

Each is done whole by one device, so none waits for another. On a CPU a device does its own one after the other, since
the parameters of one fit its cache; an accelerator does them side by side, to be filled by small batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scoread_jax.parallel.devices import device_mesh, on_cpu, placement, whole_on_each
from scoread_jax.parallel.pixels import filled, first

_AXIS = "trainings"


class Trainings(NamedTuple):
    """How trainings are spread.

    Attributes:
        of: how many.
        devices: of JAX, at most as many; none: all on the one where the compiled function runs.
        in_turn: each device does one after the other.
    """

    of: int
    devices: tuple[Any, ...] = ()
    in_turn: bool = False

    @property
    def numbers(self) -> np.ndarray:
        """Of the trainings that ``run`` does: all, and the first one again where devices would have fewer to do."""
        parts = max(1, len(self.devices))
        return filled(np.arange(self.of), -(-self.of // parts) * parts)

    def place(self, tree: Any) -> Any:
        """Leaves [of, …] as ``run`` takes them, each device's own on it; outside of a compiled function."""
        if not self.devices:
            return tree
        sharding = NamedSharding(device_mesh(self.devices, _AXIS), P(_AXIS))
        return jax.device_put(filled(tree, len(self.numbers)), sharding)

    def place_shared(self, tree: Any) -> Any:
        """What all of them are given, on every device; outside of a compiled function."""
        return whole_on_each(self.devices, _AXIS, tree) if self.devices else tree

    def take(self, tree: Any) -> Any:
        """``place`` undone: leaves [of, …]."""
        return first(tree, self.of)

    def run(self, fn: Callable[..., Any], each: Any, *shared: Any) -> Any:
        """``fn(of one training, *shared)`` for all; inside of a compiled function.

        Args:
            fn: what it returns is an array or a tree of such.
            each: a tree of arrays [placed, …].
            shared: trees of arrays.

        Returns:
            Leaves [placed, …].
        """

        def mine(each: Any, *shared: Any) -> Any:
            def one(own: Any) -> Any:
                return fn(own, *shared)

            return jax.lax.map(one, each) if self.in_turn else jax.vmap(one)(each)

        if not self.devices:
            return mine(each, *shared)
        mesh, specs = device_mesh(self.devices, _AXIS), (P(_AXIS), *(P() for _ in shared))
        spread = jax.shard_map(mine, mesh=mesh, in_specs=specs, out_specs=P(_AXIS), check_vma=False)
        return spread(jax.tree.map(jnp.asarray, each), *shared)


def spread_trainings(count: int, *, alone: bool = False) -> Trainings:
    """Spread trainings over the devices that were chosen for the process: over as few as end no later than all would.

    Args:
        count: how many.
        alone: over none, where each of them is spread already.
    """
    devices = placement().devices
    rounds = -(-count // len(devices))
    needed = 1 if alone else -(-count // rounds)
    return Trainings(count, devices[:needed] if needed > 1 else (), on_cpu())
