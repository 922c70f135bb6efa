"""How the speed benchmarks are asked, how they take time, and under which name their results lie."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.common import environment, write_result
from scoread_jax import datasets, parallel, process


def parser(description: str | None, rounds: int | None = 7) -> argparse.ArgumentParser:
    """The options that all of them have: ``--device``, ``--quick``, and ``--rounds`` where they take time in turns."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", choices=parallel.PLATFORMS, help="what to run on (default: JAX's own choice)")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--beside", action="store_true", help="keep what another CPU gave, and write beside it")
    made.add_argument("--quick", action="store_true", help="the least that shows that it runs; nothing is written")
    return made


def prepared(made: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options and choose the devices; before anything is computed."""
    found = made.parse_args(arguments)
    if getattr(found, "rounds", 1) < 1:
        made.error(f"--rounds must be 1 or more, found {found.rounds}")
    # An installed package has its bytecode: what is timed in a process of its own compiles no sources.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    process.prepare()
    parallel.use_all_cores()
    parallel.use_compile_cache()
    parallel.use_devices(found.device)
    if found.quick:
        found.rounds = 1
    return found


def options(description: str | None, rounds: int = 7) -> argparse.Namespace:
    """The options of a benchmark that has no more than all have."""
    return prepared(parser(description, rounds))


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock time until the result is there."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def interleaved(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Time several things in turns, after one run each that is not counted.

    Returns:
        By name: ``median``, ``least`` and ``most`` seconds.
    """
    for work in works.values():
        jax.block_until_ready(work())
    taken = [{name: seconds(work) for name, work in works.items()} for _ in range(rounds)]
    return {name: spread([one[name] for one in taken]) for name in works}


def detect_command(scene: str, folder: str, device: str | None, quick: bool) -> list[str]:
    """Arguments of ``scoread`` that take a public scene from its files to files in ``folder``/out."""
    cube, *truth = map(str, datasets.path(scene) or (scene,))
    command = ["detect", cube, "-o", f"{folder}/out", "--quiet"]
    command += ["--truth", *truth] if truth else []
    command += ["--device", device] if device else []
    return command + (["--config", "demo", "--train.steps", "20"] if quick else [])


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def slopes(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of the line through the logarithms of time and size, for each quantity ``varied``; 1 is in proportion."""
    found = {}
    for name in dict.fromkeys(row["varied"] for row in rows):
        points = [row for row in rows if row["varied"] == name]
        size, taken = [row[name] for row in points], [row["seconds"]["median"] for row in points]
        found[name] = float(np.polyfit(np.log(size), np.log(taken), 1)[0])
    return found


def write(name: str, chosen: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write the result unless it is a quick one; on an accelerator, or ``--beside``, under the device's name too."""
    if chosen.quick:
        return
    about = environment()
    if about["platform"] != "cpu" or chosen.beside:
        name += "-" + re.sub("[^a-z0-9]+", "-", about["device"].lower()).strip("-")
    write_result(name, {"environment": about, "rounds": chosen.rounds} | result)
