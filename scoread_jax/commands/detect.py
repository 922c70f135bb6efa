"""``scoread detect``: train on a scene, score it, write everything."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import (
    add_command,
    add_config,
    add_devices,
    add_keeping,
    add_memory,
    add_output,
    add_ranks,
    add_scene,
    add_tracking,
)
from scoread_jax.errors import ScoreADError

if TYPE_CHECKING:
    from scoread_jax.detect import Functions


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "detect", "SCENE", "train on a scene and score it: map, figures, metrics")
    add_scene(command)
    add_output(command)
    command.epilog = shared.DISTRIBUTED
    command.add_argument("--dry-run", action="store_true", help="say what it would take, and stop")
    add_devices(command)
    add_ranks(command, together=True)
    add_memory(command)
    add_keeping(command)
    add_tracking(command)
    add_config(command)
    own = command.add_argument_group("your own functions", "each FILE.py:NAME; see the README")
    own.add_argument("--sde", metavar="PLACE", help="a forward process, in place of sde.name")
    own.add_argument("--network", metavar="PLACE", help="(bands, conditional) -> Network, in place of network.name")
    own.add_argument("--statistic", metavar="PLACE", help="Perturbed -> score, in place of detect.statistic")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train on a scene, score it, write everything."""
    recipe = shared.config(options)
    shared.meet(options)
    image = shared.scene(options)
    output = shared.output(options, image)
    from scoread_jax import pipeline, plan, results

    shared.say(options, results.describe(image))
    shared.prepare_devices(options)
    functions, execution = _functions(options), shared.execution(options)
    expected = plan.plan(image, recipe, execution)
    if options.dry_run or expected.blocks > 1:  # of one block, the calibration would take longer than the run
        expected = plan.calibrate(image, recipe, expected, functions)
    if options.dry_run:
        shared.result(options, expected._asdict(), str(expected))
        return
    shared.say(options, str(expected))
    begin = time.perf_counter()
    log_to = output.folder if output.whole else None
    with shared.kept(options, output.place, log_to) as keeper, shared.drawing(options, output, image) as draw:
        with shared.progress(options, keeper, then="scoring") as callback:
            _, anomaly_map = pipeline.detect(image, recipe, callback, functions, execution._replace(keeper=keeper))
        shared.finish(options, output, image, anomaly_map, recipe, begin, draw)


def _functions(options: argparse.Namespace) -> Functions:
    from scoread_jax import plugins
    from scoread_jax.detect import Functions
    from scoread_jax.sde import SDE

    found = {name: plugins.load(place) for name in Functions._fields if (place := getattr(options, name)) is not None}
    if "sde" in found and not isinstance(found["sde"], SDE):
        raise ScoreADError(
            f"--sde {options.sde}: expected a process such as GaussianSDE(scale, std), found {found['sde']!r}"
        )
    for name in ("network", "statistic"):
        if name in found and not callable(found[name]):
            raise ScoreADError(f"--{name} {getattr(options, name)}: expected a function, found {found[name]!r}")
    return Functions(**found)
