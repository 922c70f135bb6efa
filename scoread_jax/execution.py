"""How a run is carried out: the memory it may use, and how a scene is cut for it. None of it changes a map."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

from scoread_jax import parallel
from scoread_jax.config import Config
from scoread_jax.errors import ConfigError
from scoread_jax.keep import NOTHING_KEPT, Keeper
from scoread_jax.scene import Scene

# What Python, JAX and compiled functions take before a scene is read.
_BASE_BYTES = 700 << 20
# A run without a limit works on so much of a scene at a time.
_USUAL_BLOCK_BYTES = 512 << 20
# Pixels of the scene held at several stages of a robust z-score, float64.
_PIXEL_BYTES = 80


class Execution(NamedTuple):
    """How a run is carried out.

    Attributes:
        memory: most bytes that the process may hold; None: no limit, and half a gibibyte for each block.
        rows: rows of a block; None: as many as the memory allows.
        watch: told what is being done, how many pixels of it are done, and of how many, after each block.
        keeper: of the run, which goes on where it stopped.
    """

    memory: int | None = None
    rows: int | None = None
    watch: Callable[[str, int, int], None] | None = None
    keeper: Keeper = NOTHING_KEPT

    def told(self, stage: str) -> Callable[[int, int], None]:
        """``(done, of how many)`` for those who watch a stage."""
        return (lambda done, whole: None) if self.watch is None else functools.partial(self.watch, stage)


PLAIN = Execution()


def block_rows(image: Scene, config: Config, halo: int, execution: Execution) -> int:
    """Rows to score at once.

    Args:
        image: the scene.
        config: the recipe.
        halo: rows that a block looks at on either side.
        execution: the limits.

    Raises:
        ConfigError: for a limit that does not hold even one row, or fewer rows than one.
    """
    if execution.rows is not None:
        if execution.rows < 1:
            raise ConfigError(f"rows of a block must be 1 or more, found {execution.rows}")
        return min(execution.rows, image.rows)
    room = _USUAL_BLOCK_BYTES
    if execution.memory is not None:
        held = held_bytes(image, config)
        room = execution.memory - held
        least = held + block_bytes(image, config, 1, halo)
        if execution.memory < least:
            raise ConfigError(
                f"the memory limit must be at least {math.ceil(least / 2**20)} MiB for {image.rows} × {image.cols} "
                f"pixels and {image.bands} bands, found {execution.memory / 2**20:.3g} MiB; raise it, or lower "
                "the configuration's sample"
            )
        room = min(room, _USUAL_BLOCK_BYTES)
    each = block_bytes(image, config, 1, 0)
    part = -(-image.rows // parallel.process_count())
    return max(1, min(part, (room - block_bytes(image, config, 0, halo)) // each))


def held_bytes(image: Scene, config: Config) -> int:
    """Bytes that a run holds however its scene is cut: the maps of its members, and what is learned from."""
    sample = min(config.sample, image.pixels) * image.bands * 4
    maps = image.pixels * (4 * maps_of(config) + _PIXEL_BYTES)
    return _BASE_BYTES + max(3 * sample, maps)


def block_bytes(image: Scene, config: Config, rows: int, halo: int) -> int:
    """Bytes that a block of so many rows takes, with the next one being read."""
    read = image.bands * (2 * 4 + image.cube.dtype.itemsize)
    worked_on = 4 * 6 * config.closed_form.components + 4 * maps_of(config)
    return (rows + 2 * halo) * image.cols * (read + worked_on)


def maps_of(config: Config) -> int:
    """Number of maps that are held for every pixel before they become one."""
    form = config.closed_form
    closed = len(form.nearest_rings) * len(form.neighbours) + len(form.gaussian_rings) + 1
    needs = config.train.drop > 0 or set(config.fusion.members) != {"network"}
    return needs * len(form.views) * closed + len(config.detect.times)


def parse_bytes(text: str) -> int:
    """Read ``2GiB``, ``500MB``, ``1.5G`` or a number of bytes.

    Raises:
        ConfigError: for anything else.
    """
    units = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    units |= {f"{unit}ib": size for unit, size in units.items() if unit not in ("", "b")}
    units |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
    word = text.strip().lower()
    number = word.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        found = float(number) * units[word[len(number) :].strip()]
    except (ValueError, KeyError):
        found = -1.0
    if not (1 <= found < 2**63):
        raise ConfigError(f"expected an amount of memory such as 2GiB or 500MB, found {text!r}")
    return int(found)
