"""``scoread train``: train on a scene and keep the detector."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import (
    add_command,
    add_config,
    add_devices,
    add_keeping,
    add_memory,
    add_ranks,
    add_scene,
    add_tracking,
)


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "train", "SCENE -o DIR", "train on a scene and keep the detector")
    add_scene(command)
    command.add_argument("-o", "--out", type=Path, metavar="DIR", required=True, help="directory of the detector")
    command.epilog = shared.DISTRIBUTED
    add_devices(command)
    add_ranks(command, together=True)
    add_memory(command)
    add_keeping(command)
    add_tracking(command)
    add_config(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train on a scene and keep the detector."""
    recipe = shared.config(options)
    shared.meet(options)
    image = shared.scene(options)
    from scoread_jax import checkpoint, parallel, pipeline, results

    checkpoint.check_target(shared.writable(options.out))
    shared.say(options, results.describe(image))
    shared.prepare_devices(options)
    with shared.kept(options, options.out, options.out) as keeper:
        execution = shared.execution(options)._replace(keeper=keeper)
        with shared.progress(options, keeper) as callback:
            detector = pipeline.fit(image, recipe, callback, execution=execution)
        if parallel.process_index() == 0:
            checkpoint.save(options.out, detector)
    if parallel.process_index() > 0:
        return
    summary = f"detector: {options.out}\nnext:     scoread score SCENE -d {options.out}"
    shared.result(options, {"detector": str(options.out)}, summary)
