"""``kill -9`` at random moments of training and scoring; then the run goes on, and ends as if nothing had been."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np

from benchmarks.robustness import tiny
from scoread_jax import checkpoint, pipeline, train
from scoread_jax.execution import Execution


def kills(count: int) -> dict[str, Any]:
    """Kill ``count`` runs, each at a random moment, and let each go on to its end.

    Every run is a process of its own: a fork of this one, made before JAX has started.

    Returns:
        How many ended with the uninterrupted run's parameters and map, and how many were hit where.
    """
    rng = np.random.default_rng(0)
    same, training, scoring, untouched = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _finish(folder / "warm")
        expected, seconds = _finish(folder / "whole")
        for _ in range(count):
            run = folder / "run"
            _kill(run, rng.uniform(0, seconds))
            steps, blocks = len(list(run.glob("training/*/step.json"))), len(list(run.glob("scoring/*/*.npz")))
            untouched += not (steps or blocks)
            scoring += any(run.glob("scoring/network-*"))
            training += bool(steps or blocks) and not any(run.glob("scoring/network-*"))
            same += _finish(run)[0] == expected
            shutil.rmtree(run)
    where = {"before anything was kept": untouched, "training": training, "scoring": scoring}
    return {"killed": count, "same to the last bit": same, "seconds of a run": seconds, "killed in": where}


def _finish(run: Path) -> tuple[str, float]:
    """Begin a run or go on with it, to its end: digest of parameters and map, and what it took from its first step."""
    with _begun(run) as (pipe, _):
        begin = time.monotonic()
        digest = pipe.readline().strip()
    return digest, time.monotonic() - begin


def _kill(run: Path, after: float) -> None:
    with _begun(run) as (_, process):
        time.sleep(after)
        os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def _begun(run: Path) -> Iterator[tuple[TextIO, int]]:
    """A run in a process of its own, at its first step: what it tells, and its number. Waits for its end."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        _work(run, write)
    os.close(write)
    with os.fdopen(read) as pipe:
        pipe.readline()
        yield pipe, process
    os.waitpid(process, 0)


def _work(run: Path, pipe: int) -> None:
    """In a process of its own: detect, everything kept at once."""
    train.STEPS_AT_ONCE = 2
    os.write(pipe, b"begun\n")
    execution = Execution(rows=tiny.ROWS_OF_A_BLOCK, keeper=checkpoint.Run(run, every=0))
    detector, anomaly_map = pipeline.detect(tiny.scene(), tiny.recipe(), execution=execution)
    total = hashlib.sha256(anomaly_map.tobytes())
    for leaf in jax.tree.leaves(detector.variables):
        total.update(np.asarray(leaf).tobytes())
    os.write(pipe, f"{total.hexdigest()}\n".encode())
    os._exit(0)
