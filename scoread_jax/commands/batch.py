"""``scoread batch``: many scenes, spread over processes."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scoread_jax import config as configuration
from scoread_jax.commands import shared
from scoread_jax.commands.options import (
    add_bands,
    add_command,
    add_config,
    add_devices,
    add_memory,
    add_ranks,
    add_variables,
    overrides,
)
from scoread_jax.errors import ScoreADError

if TYPE_CHECKING:
    from scoread_jax.batch import Task
    from scoread_jax.config import Config
    from scoread_jax.detect import Detector


class Outcome(NamedTuple):
    """What became of a scene, for the log."""

    status: str
    detail: str = ""


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(
        subparsers, "batch", "LIST... -o DIR", "detect in many scenes; a second run does what is left"
    )
    command.epilog = (
        "Every scene has a folder in DIR, complete or with a failure.json that says why; summary.csv and summary.json "
        "list them all. Exit code 1: some failed. On SLURM: srun --ntasks=8 scoread batch LIST -o DIR --distributed"
    )
    command.add_argument(
        "scenes", nargs="+", metavar="LIST", help=".txt file with one scene a line, scenes, public names, '*.mat'"
    )
    command.add_argument("-o", "--out", type=Path, metavar="DIR", required=True, help="where the scenes' folders go")
    command.add_argument(
        "-d",
        "--detector",
        type=Path,
        metavar="DETECTOR",
        help="score with this detector (default: train on each)",
    )
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="processes on this machine (1)")
    add_variables(command)
    add_bands(command)
    add_ranks(command, together=False)
    add_devices(command)
    add_memory(command)
    add_config(command)
    command.set_defaults(run=run, config=None)


def run(options: argparse.Namespace) -> int:
    """Detect in many scenes."""
    if options.jobs < 1:
        raise ScoreADError(f"--jobs must be 1 or more, found {options.jobs}")
    _recipe(options)  # refused before any process starts
    from scoread_jax import batch, parallel, workers

    out = shared.writable(options.out)
    everything = batch.tasks(options.scenes, out)
    rank, ranks = parallel.rank(options.distributed, options.processes, options.process_id)
    mine = everything[rank::ranks]
    parallel.share_memory()
    if options.device or options.devices:
        shared.prepare_devices(options)  # a device that is not there is refused once, not by every scene
    out.mkdir(parents=True, exist_ok=True)
    work = functools.partial(_one_scene, options)
    begin = functools.partial(_begin, options)
    busy = 0
    for number, (task, outcome) in enumerate(workers.spread(work, mine, options.jobs, begin), 1):
        if isinstance(outcome, workers.Died):
            batch.note_failure(task, outcome.reason)
            outcome = Outcome("failed", outcome.reason)
        busy += outcome.status == "busy"
        detail = f": {outcome.detail}" if outcome.detail else ""
        shared.say(options, f"[{number}/{len(mine)}] {task.scene}: {outcome.status}{detail}")
    rows = batch.summarise(everything, out)
    failed = [row for row in rows if row["status"] == "failed"]
    shared.result(options, {"folder": str(out), "scenes": rows}, _summary(out, rows, busy))
    return 1 if failed else 0


def _summary(out: Path, rows: list[dict[str, Any]], busy: int) -> str:
    count = {status: sum(row["status"] == status for row in rows) for status in ("done", "failed", "missing")}
    lines = [f"{count['done']} of {len(rows)} scenes done: {out / 'summary.csv'}, summary.json"]
    if count["missing"]:
        lines.append(f"{count['missing']} left to other processes" + (f", {busy} in work there" if busy else ""))
    if count["failed"]:
        lines.append(f"{count['failed']} failed:")
        lines += [f"  {row['scene']}: {row['reason']}" for row in rows if row["status"] == "failed"]
    return "\n".join(lines)


def _recipe(options: argparse.Namespace) -> tuple[Config, Detector | None, str]:
    """The configuration, and the detector with its digest where one is given."""
    if options.detector is None:
        return configuration.replace(configuration.load(options.config or "default"), overrides(options)), None, ""
    given = [key for key in overrides(options) if key != "seed" and not key.startswith("detect.")]
    if options.config is not None or given:
        raise ScoreADError(
            f"--detector {options.detector}: expected its own configuration, but for seed and detect.*, "
            f"found --{given[0] if given else 'config'} beside it; leave one of them out"
        )
    detector, identity = shared.detector(options)
    return detector.config, detector, identity


def _begin(options: argparse.Namespace, number: int) -> None:
    shared.prepare_devices(options, share=(number, options.jobs))


def _one_scene(options: argparse.Namespace, task: Task) -> Outcome:
    """In a worker: train and score, unless it is done or in work."""
    from scoread_jax import batch, pipeline, results, tracking
    from scoread_jax.io import lock

    start = time.perf_counter()
    try:
        with lock(task.lock) as held:
            if not held:
                return Outcome("busy", "another process works on it")
            recipe, detector, identity = _recipe(options)
            image = shared.scene(
                argparse.Namespace(**vars(options) | {"scene": task.scene, "truth": None, "mask": None})
            )
            if batch.is_complete(task, image, recipe, identity):
                return Outcome("unchanged")
            execution = shared.execution(options)._replace(watch=None)
            if detector:
                anomaly_map = pipeline.score(detector, image, execution)
            else:
                log = tracking.json_lines(task.folder)
                anomaly_map = pipeline.detect(image, recipe, log, execution=execution)[1]
            seconds = time.perf_counter() - start
            batch.begin_writing(task)
            output = results.in_folder(task.folder, image.georeference)
            _, found = results.write(output, image, anomaly_map, recipe, seconds, detector=identity)
        figures = "" if found is None else f", AUC {found.auc:.4f}, AP {found.average_precision:.3f}"
        return Outcome("done", f"{seconds:.0f} s{figures}")
    except Exception as error:  # whatever one scene meets, the others go on
        reason = str(error) if isinstance(error, ScoreADError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split()).removeprefix(f"{task.scene}: ")
        try:
            batch.note_failure(task, reason)
        except ScoreADError as refused:
            print(f"scoread: {refused}", file=sys.stderr)
        return Outcome("failed", reason)
