"""What a run will take, told before it begins."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from scoread_jax import held_out, members, pipeline, train
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Functions
from scoread_jax.execution import Execution, block_bytes, block_rows, held_bytes, maps_of
from scoread_jax.scene import Scene

# The calibration's part of a scene: enough pixels that the fixed costs of a call are small.
_PIXELS = 2000


class Plan(NamedTuple):
    """What a run will take.

    Attributes:
        pixels: valid ones, all of which are scored.
        bands: good ones.
        sample: spectra from which the scene as a whole is learned.
        rows: of a block.
        blocks: number of blocks.
        memory: bytes held at most, estimated.
        training_pixels: spectra that train.
        steps: of training.
        evaluations: of the network while scoring.
        seconds: estimated by ``calibrate``, by part; None before.
    """

    pixels: int
    bands: int
    sample: int
    rows: int
    blocks: int
    memory: int
    training_pixels: int
    steps: int
    evaluations: int
    seconds: Mapping[str, float] | None = None

    def __str__(self) -> str:
        known = "all spectra" if self.sample == self.pixels else f"a random sample of {self.sample} spectra"
        lines = [
            f"plan: {self.pixels} pixels × {self.bands} bands, {self.rows} rows at a time, "
            f"about {self.memory / 2**30:.1f} GiB of memory",
            f"{self.steps} training steps on {self.training_pixels} spectra, {self.evaluations:.3g} evaluations, "
            f"statistics of {known}",
        ]
        if self.seconds is not None:
            parts = ", ".join(f"{part} {_duration(seconds)}" for part, seconds in self.seconds.items())
            lines.append(f"about {_duration(sum(self.seconds.values()))} and compilation: {parts}")
        return "\n  ".join(lines)


def plan(image: Scene, config: Config, execution: Execution) -> Plan:
    """Say what ``pipeline.detect`` would take.

    Args:
        image: the scene.
        config: the recipe.
        execution: its limits.

    Raises:
        ConfigError: for a memory limit that does not hold one row.
    """
    halo = (
        members.reach(config.closed_form) if maps_of(config) > len(config.detect.times) else config.context.outer // 2
    )
    rows = block_rows(image, config, halo, execution)
    trains = "network" in config.fusion.members
    most = min(config.train.max_pixels or config.sample, config.sample)
    pixels = min(most, max(1, round(image.pixels * (1 - config.train.drop)))) if trains else 0
    if trains and config.train.patience:
        pixels -= config.train.batch_size * held_out.batches_of(pixels, config.train.batch_size)
    batches = train.steps_per_epoch(pixels, config.train.batch_size)
    K, first, refine = config.detect.perturbations, config.detect.first, config.detect.refine
    copies = first + 1 + refine * (K + 1) if first else K + 1
    evaluations = round(image.pixels * len(config.detect.times) * copies)
    return Plan(
        image.pixels,
        image.bands,
        min(config.sample, image.pixels),
        rows,
        -(-image.rows // rows),
        held_bytes(image, config) + block_bytes(image, config, rows, halo),
        pixels,
        batches * train.epochs_of(config.train, pixels) if trains else 0,
        evaluations if trains else 0,
    )


def calibrate(image: Scene, config: Config, expected: Plan, functions: Functions = AS_CONFIGURED) -> Plan:
    """Time a small part of a scene and extrapolate; compilation is not counted.

    Args:
        image: the scene.
        config: the recipe.
        expected: of ``plan``.
        functions: in place of those that the configuration names.

    Returns:
        The plan with ``seconds``.
    """
    part = _middle(image, max(_PIXELS, 2 * config.train.batch_size), max(config.context.outer, 8))
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=0, epochs=1))
    heard: list[train.Progress] = []
    scored: list[tuple[str, float]] = []
    watching = Execution(watch=lambda stage, done, whole: scored.append((stage, time.perf_counter())))
    detector = pipeline.fit(part, short, functions=functions)  # compiles
    pipeline.score(detector, part)
    pipeline.fit(part, short, heard.append, functions)
    begin = time.perf_counter()
    pipeline.score(detector, part, watching)
    share, seconds = expected.pixels / part.pixels, {}
    for stage, end in scored:
        seconds[stage] = (end - begin) * share
        begin = end
    if heard:
        seconds["training"] = heard[-1].seconds / heard[-1].step * expected.steps
    return expected._replace(seconds=seconds)


def _middle(image: Scene, pixels: int, rows: int) -> Scene:
    """Rows from a scene's middle, as a scene, with at least so many valid pixels where there are as many."""
    below = np.cumsum(np.count_nonzero(image.valid, axis=1))
    start = max(0, int(np.searchsorted(below, (below[-1] - pixels) / 2)))
    stop = int(np.searchsorted(below, below[start] + pixels)) + 1
    stop = min(image.rows, max(stop, start + rows))
    chosen = slice(max(0, min(start, stop - rows)), stop)
    return dataclasses.replace(
        image, cube=image.cube[chosen], valid=image.valid[chosen], truth=None, georeference=None, metadata={}
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
