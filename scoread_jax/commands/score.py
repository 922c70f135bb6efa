"""``scoread score``: score a scene with a detector trained before."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from scoread_jax import config as configuration
from scoread_jax.commands import shared
from scoread_jax.commands.options import (
    add_command,
    add_devices,
    add_keeping,
    add_memory,
    add_output,
    add_overrides,
    add_ranks,
    add_scene,
    overrides,
)


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "score", "SCENE -d DIR", "score a scene with a trained detector")
    add_scene(command)
    command.add_argument("-d", "--detector", type=Path, metavar="DIR", required=True, help="directory of the detector")
    command.epilog = shared.DISTRIBUTED
    add_output(command)
    add_devices(command)
    add_ranks(command, together=True)
    add_memory(command)
    add_keeping(command)
    add_overrides(command, only=("detect.", "seed"))
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Score a scene with a detector trained before."""
    from scoread_jax import checkpoint, pipeline, results

    shared.meet(options)
    shared.prepare_devices(options)
    detector = checkpoint.load(options.detector)
    recipe = configuration.replace(detector.config, overrides(options))
    image = shared.scene(options)
    output = shared.output(options, image)
    shared.say(options, results.describe(image))
    shared.say(options, "scoring")
    execution = shared.execution(options)
    start = time.perf_counter()
    with shared.kept(options, output.place) as keeper:
        detector = dataclasses.replace(detector, config=recipe)
        anomaly_map = pipeline.score(detector, image, execution._replace(keeper=keeper))
        shared.finish(options, output, image, anomaly_map, recipe, time.perf_counter() - start)
