"""Devices and processes: the only package that names one."""

from scoread_jax.parallel.batches import ONE_DEVICE, Batches, spread_batches
from scoread_jax.parallel.devices import (
    PLATFORMS,
    STRATEGIES,
    Placement,
    Strategy,
    compiled_folder,
    on_cpu,
    placement,
    use_all_cores,
    use_compile_cache,
    use_devices,
    working_bytes,
)
from scoread_jax.parallel.independence import all_batched, independent, merged
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
from scoread_jax.parallel.trainings import Trainings, spread_trainings

__all__ = [
    "ONE_DEVICE",
    "PLATFORMS",
    "STRATEGIES",
    "Batches",
    "PixelFunction",
    "Placement",
    "Rank",
    "Strategy",
    "Trainings",
    "agree",
    "all_batched",
    "compiled_folder",
    "from_first",
    "group",
    "independent",
    "join",
    "map_calls",
    "map_chunks",
    "map_pixels",
    "merged",
    "on_cpu",
    "placement",
    "process_count",
    "process_index",
    "rank",
    "share_memory",
    "spread_batches",
    "spread_trainings",
    "supervise",
    "use_all_cores",
    "use_compile_cache",
    "use_devices",
    "with_others",
    "working_bytes",
]
