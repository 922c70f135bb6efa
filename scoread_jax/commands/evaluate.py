"""``scoread evaluate``: figures of merit of a map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "evaluate", "MAP TRUTH", "figures of merit of a map against ground truth")
    command.add_argument("map", type=Path, metavar="MAP", help="anomaly map: .npy, .npz or .mat")
    command.add_argument("truth", type=Path, metavar="TRUTH", help="ground truth, nonzero = anomalous")
    command.add_argument("--map-var", metavar="NAME", help="variable of the map in its file")
    command.add_argument("--truth-var", metavar="NAME", help="variable of the truth in its file")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print figures of merit of a map."""
    from scoread_jax import metrics
    from scoread_jax.io import read_map, read_truth

    anomaly_map = read_map(options.map, options.map_var)
    truth = read_truth(options.truth, options.truth_var)
    found = metrics.evaluate(anomaly_map, truth)
    shared.result(options, found.as_dict(), metrics.format_table(found))
