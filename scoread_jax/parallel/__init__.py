"""Devices and processes: the only package that names one."""

from scoread_jax.parallel.batches import ONE_DEVICE, Batches, spread_batches
from scoread_jax.parallel.devices import (
    PLATFORMS,
    STRATEGIES,
    Placement,
    Strategy,
    placement,
    use_all_cores,
    use_compile_cache,
    use_devices,
    working_bytes,
)
from scoread_jax.parallel.pixels import PixelFunction, map_calls, map_chunks, map_pixels
from scoread_jax.parallel.processes import (
    Rank,
    agree,
    from_first,
    group,
    join,
    process_count,
    process_index,
    rank,
    share_memory,
    supervise,
    with_others,
)

__all__ = [
    "ONE_DEVICE",
    "PLATFORMS",
    "STRATEGIES",
    "Batches",
    "PixelFunction",
    "Placement",
    "Rank",
    "Strategy",
    "agree",
    "from_first",
    "group",
    "join",
    "map_calls",
    "map_chunks",
    "map_pixels",
    "placement",
    "process_count",
    "process_index",
    "rank",
    "share_memory",
    "spread_batches",
    "supervise",
    "use_all_cores",
    "use_compile_cache",
    "use_devices",
    "with_others",
    "working_bytes",
]
