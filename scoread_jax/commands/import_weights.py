"""``scoread import-weights``: turn the authors' PyTorch state dict into a detector."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command, add_config
from scoread_jax.errors import ScoreADError


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "import-weights", "FILE.pth -o DIR", "make a detector of the authors' .pth file")
    command.add_argument(
        "file", type=Path, metavar="FILE.pth", help="state dict; give the recipe of its training with --config"
    )
    command.add_argument("-o", "--out", type=Path, metavar="DIR", required=True, help="directory of the detector")
    add_config(command, default="scoread-hydice")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Turn the authors' PyTorch state dict into a detector."""
    from scoread_jax import checkpoint, weights
    from scoread_jax.detect import Detector

    recipe = shared.config(options)
    if recipe.view.kind != "identity" or recipe.network.precondition != "over_std":
        raise ScoreADError(f"--config {options.config}: expected a recipe as published (scoread-*), found another")
    checkpoint.check_target(shared.writable(options.out))
    state, conditional = weights.read_state_dict(options.file), recipe.context.conditional
    imported = weights.from_state_dict(state, conditional=conditional, source=str(options.file))
    network = dataclasses.replace(recipe.network, name="unet1d", **imported.sizes)
    detector = Detector(dataclasses.replace(recipe, network=network), imported.variables, imported.bands)
    checkpoint.save(options.out, detector)
    kind = f"{imported.bands} bands, {'conditional' if conditional else 'unconditional'}"
    summary = f"detector: {options.out} ({kind})\nnext:     scoread score SCENE -d {options.out}"
    shared.result(options, {"detector": str(options.out), "bands": imported.bands}, summary)
