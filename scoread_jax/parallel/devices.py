"""Which devices this process works on, chosen once at its start.

Like ``jax.config``, the choice belongs to the process and not to the computation: a map does not depend on it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from scoread_jax.errors import ConfigError

Strategy = Literal["jit", "shard_map", "pmap"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
PLATFORMS = ("cpu", "gpu", "tpu")

# Half of a usual core's second-level cache; more is slower.
_CACHE_BYTES = 1 << 20
# An accelerator wants much in flight, but its memory holds more than activations.
_MEMORY_PARTS = 16
_USUAL_MEMORY = 16 << 30


class Placement(NamedTuple):
    """Where work goes.

    Attributes:
        devices: of JAX, local to this process.
        strategy: how JAX is told to spread pixels over them.
    """

    devices: tuple[Any, ...]
    strategy: Strategy


_chosen: Placement | None = None


def placement() -> Placement:
    """What ``use_devices`` chose; all local devices and ``jit`` where nothing was chosen."""
    return _chosen or Placement(tuple(jax.local_devices()), "jit")


def use_devices(
    platform: str | None = None, count: int | None = None, strategy: str = "jit", share: tuple[int, int] = (0, 1)
) -> Placement:
    """Choose the devices of this process.

    Args:
        platform: one of ``PLATFORMS``; JAX's own choice where None.
        count: how many of the local ones; all where None.
        strategy: one of ``STRATEGIES``.
        share: (number, of): where several processes share this machine, every ``of``-th device from ``number`` on, or
            one of them where there are fewer devices than processes.

    Returns:
        The choice, which holds until the next one.

    Raises:
        ConfigError: for devices that are not there, saying which are.
    """
    global _chosen
    known = checked_strategy(strategy)
    if count is not None and count < 1:
        raise ConfigError(f"--devices must be 1 or more, found {count}")
    if platform == "cpu":  # no accelerator is touched
        jax.config.update("jax_platforms", "cpu")
    number, of = share
    devices = _local_devices(platform)
    if count is not None and count > len(devices):
        raise ConfigError(
            f"--devices must be at most the {many(devices)} of this machine, found {count}; "
            "choose fewer, or leave it out for all"
        )
    devices = devices[:count]
    devices = devices[number::of] or [devices[number % len(devices)]]
    # Left alone where it is the first anyway: it is part of what a compiled function is known by.
    jax.config.update("jax_default_device", None if devices[0] == jax.local_devices()[0] else devices[0])
    _chosen = Placement(tuple(devices), known)
    return _chosen


def checked_strategy(strategy: str) -> Strategy:
    """The strategy of that name.

    Raises:
        ConfigError: for one that is not known.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy must be one of {', '.join(STRATEGIES)}, found {strategy!r}")
    return cast(Strategy, strategy)


def working_bytes() -> int:
    """How much of what a device works on at once suits it: a core's cache, or a part of an accelerator's memory."""
    if on_cpu():
        return _CACHE_BYTES
    device = placement().devices[0]
    return (device.memory_stats() or {}).get("bytes_limit", _USUAL_MEMORY) // _MEMORY_PARTS


def on_cpu() -> bool:
    """Whether this process works on the CPU."""
    return placement().devices[0].platform == "cpu"


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


def compiled_folder() -> Path:
    """Where compiled functions are kept: where JAX is told to, or in the user's cache."""
    told = jax.config.values["jax_compilation_cache_dir"] or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if told and "://" not in told:
        return Path(told)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "scoread_jax" / "compiled"


def use_compile_cache() -> None:
    """Keep compiled functions between runs, in the user's cache, unless JAX is told where already."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.values["jax_compilation_cache_dir"]:
        return
    jax.config.update("jax_compilation_cache_dir", str(compiled_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _local_devices(platform: str | None) -> list[Any]:
    try:
        return jax.local_devices(backend=platform)
    except RuntimeError as error:  # JAX's way to say that there are none
        if platform is None:
            raise ConfigError(f"JAX finds no device to work on ({error}); check JAX_PLATFORMS") from error
        raise ConfigError(
            f"--device {platform} expects a {platform.upper()} that JAX can use, found {many(jax.local_devices())}; "
            f"choose one of those, or install scoread-jax[{'tpu' if platform == 'tpu' else 'cuda12'}]"
        ) from error


@functools.cache
def device_mesh(devices: tuple[Any, ...], axis: str) -> jax.sharding.Mesh:
    """The devices in a row."""
    return jax.make_mesh((len(devices),), (axis,), devices=devices, axis_types=(AxisType.Auto,))


def whole_on_each(devices: tuple[Any, ...], axis: str, tree: Any) -> Any:
    """Arrays, whole on every device."""
    sharding = NamedSharding(device_mesh(devices, axis), PartitionSpec())

    def whole(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(whole(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        # Unlike jax.device_put this reaches devices of other processes.
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: np.asarray(leaf)[index])

    return jax.tree.map(whole, tree)


def many(devices: Sequence[Any]) -> str:
    """``2 cpu devices``."""
    return f"{len(devices)} {devices[0].platform} device{'s' if len(devices) > 1 else ''}"
