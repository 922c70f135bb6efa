"""``scoread info``: what a file holds, or which public scenes there are."""

from __future__ import annotations

import argparse
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command, add_scene
from scoread_jax.errors import ScoreADError


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "info", "SCENE", "what a scene file holds: all that is understood or guessed")
    add_scene(command, required=False)
    command.add_argument("--list", action="store_true", help="list the public scenes")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what a file holds, or which public scenes there are."""
    from scoread_jax import datasets

    if options.list:
        lines = {name: datasets.info(name) for name in datasets.names()}
        shared.result(options, lines, "\n".join(f"{name:<22}{line}" for name, line in lines.items()))
        return
    if options.scene is None:
        raise ScoreADError("info expects a SCENE, or --list for the public ones")
    image = shared.scene(options)
    from scoread_jax import results

    shared.result(options, results.scene_record(image), results.describe_fully(image))
