"""``scoread doctor``: what this installation is and has."""

from __future__ import annotations

import argparse
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "doctor", "", "devices, versions, caches, and what is missing")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what this installation is and has; exit code 1 where something should be mended."""
    from scoread_jax import doctor, parallel

    parallel.use_all_cores()
    found = doctor.examine()
    shared.result(options, found, doctor.describe(found))
    return 1 if found["problems"] else 0
