"""``kill -9`` at random moments of training and scoring; then the run goes on, and ends as if nothing had been."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np

from benchmarks.robustness import tiny
from scoread_jax import checkpoint, pipeline, train
from scoread_jax.execution import Execution

_ROWS = 40  # so that scoring takes its time
# What lies on the disk, the latest first.
_TRACES = {
    "scoring by the network": "scoring/network-*",
    "training": "training/*/step.json",
    "scoring in closed form": "scoring/*/*.npz",
}


def kills(count: int) -> dict[str, Any]:
    """Kill ``count`` runs, each at a random moment, and let each go on to its end.

    Every run is a process of its own: a fork of this one, made before JAX has started. The moment lies between the
    first block or step and the end of the run.

    Returns:
        How many ended with the uninterrupted run's parameters and map, and how many were hit where.
    """
    rng = np.random.default_rng(0)
    same, where = 0, Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _finish(folder / "warm")
        expected, seconds = _finish(folder / "whole")
        for _ in range(count):
            run = folder / "run"
            _kill(run, rng.uniform(0, seconds))
            where[next((stage for stage, trace in _TRACES.items() if any(run.glob(trace))), "the first block")] += 1
            same += _finish(run)[0] == expected
            shutil.rmtree(run)
    return {"killed": count, "same to the last bit": same, "seconds of a run": seconds, "killed in": dict(where)}


def _finish(run: Path) -> tuple[str, float]:
    """Begin a run or go on with it, to its end: digest of parameters and map, and what it took from its first block."""
    with _begun(run) as (pipe, _):
        begin = time.monotonic()
        digest = pipe.readline().strip()
    if not digest:
        raise RuntimeError("a run that nobody stopped did not come to its end: see what it says above")
    return digest, time.monotonic() - begin


def _kill(run: Path, after: float) -> None:
    with _begun(run) as (_, process):
        time.sleep(after)
        os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def _begun(run: Path) -> Iterator[tuple[TextIO, int]]:
    """A run in a process of its own, after its first block: what it tells, and its number. Waits for its end."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            _work(run, write)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        pipe.readline()
        yield pipe, process
    os.waitpid(process, 0)


def _work(run: Path, pipe: int) -> None:
    """In a process of its own: detect, everything kept at once."""
    train.STEPS_AT_ONCE = 2

    @functools.cache
    def begun() -> None:
        os.write(pipe, b"begun\n")

    keeper = checkpoint.Run(run, every=0)
    execution = Execution(rows=tiny.ROWS_OF_A_BLOCK, watch=lambda stage, done, whole: begun(), keeper=keeper)
    detector, anomaly_map = pipeline.detect(tiny.scene(rows=_ROWS), tiny.recipe(), execution=execution)
    total = hashlib.sha256(anomaly_map.tobytes())
    for leaf in jax.tree.leaves(detector.variables):
        total.update(np.asarray(leaf).tobytes())
    os.write(pipe, f"{total.hexdigest()}\n".encode())
