"""``scoread score``: score a scene with a detector trained before."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

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
)


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "score", "SCENE -d DETECTOR", "score a scene with a trained detector")
    add_scene(command)
    command.add_argument(
        "-d", "--detector", type=Path, metavar="DETECTOR", required=True,
        help="directory of the detector, or a file of scoread export",
    )  # fmt: skip
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
    from scoread_jax import pipeline, results

    shared.meet(options)
    shared.prepare_devices(options)
    detector, identity = shared.detector(options)
    image = shared.scene(options)
    output = shared.output(options, image)
    shared.say(options, results.describe(image))
    shared.say(options, "scoring")
    execution = shared.execution(options)
    begin = time.perf_counter()
    with shared.kept(options, output.place) as keeper, shared.drawing(options, output, image) as draw:
        anomaly_map = pipeline.score(detector, image, execution._replace(keeper=keeper))
        shared.finish(options, output, image, anomaly_map, detector.config, begin, draw, identity)
