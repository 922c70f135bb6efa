"""``scoread export``: a detector as one file, compiled ahead of time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "export", "DETECTOR -o FILE", "write a detector as one file, compiled ahead")
    command.add_argument("detector", type=Path, metavar="DETECTOR", help="directory of the detector")
    command.add_argument("-o", "--out", type=Path, metavar="FILE", required=True, help="the file to write")
    command.add_argument(
        "--platforms", nargs="+", choices=("cpu", "cuda", "tpu"), default=["cpu", "cuda", "tpu"], metavar="P",
        help="that it is to run on: cpu, cuda, tpu (all)",
    )  # fmt: skip
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write a detector as one file."""
    from scoread_jax import checkpoint, export, scoring

    shared.writable(options.out.parent)
    detector = checkpoint.load(options.detector)
    score, multiple = scoring.exportable(detector)
    export.save(options.out, detector, score, multiple, options.platforms)
    size = options.out.stat().st_size
    record = {"file": str(options.out), "bytes": size, "platforms": options.platforms}
    summary = f"exported: {options.out} ({size / 1e6:.1f} MB, {', '.join(options.platforms)})\n"
    shared.result(options, record, f"{summary}next:     scoread score SCENE -d {options.out}")
