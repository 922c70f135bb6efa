"""Damage in random places of a run's newest step and of a detector: noticed, and the newest whole step is taken."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness import tiny
from scoread_jax import checkpoint, pipeline, train
from scoread_jax.checkpoint import steps
from scoread_jax.errors import CheckpointError
from scoread_jax.execution import Execution

KINDS = ("one bit", "cut short", "deleted", "emptied")


def damage(count: int) -> dict[str, Any]:
    """Damage a file ``count`` times, and mend it again.

    Returns:
        How many of each kind were noticed.
    """
    train.STEPS_AT_ONCE = 4
    rng, noticed, done = np.random.default_rng(0), Counter(), Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = checkpoint.Run(folder / "run", every=0)
        detector, _ = pipeline.detect(tiny.scene(), tiny.recipe(), execution=Execution(keeper=run))
        checkpoint.save(folder / "detector", detector)
        older = run.kept
        newest = _one_more(folder / "run", older)
        places = {
            path: root for root in (newest, folder / "detector") for path in sorted(root.rglob("*")) if path.is_file()
        }
        weights = np.array([path.stat().st_size + 100 for path in places], float)
        for _ in range(count):
            path = list(places)[rng.choice(len(places), p=weights / weights.sum())]
            content = path.read_bytes()
            kind = KINDS[rng.integers(len(KINDS))] if content else "deleted"
            _spoil(rng, path, content, kind)
            done[kind] += 1
            noticed[kind] += _went_back(folder / "run", older) if places[path] == newest else _refused(places[path])
            path.write_bytes(content)
        assert checkpoint.latest_valid(folder / "run")[1] == []
    return {
        "damaged": count,
        "noticed": noticed.total(),
        "by kind": {kind: [noticed[kind], done[kind]] for kind in KINDS},
    }


def _one_more(run: Path, older: int) -> Path:
    """Keep the same state as a newer step."""
    kept, _ = checkpoint.latest_valid(run)
    assert kept is not None
    with contextlib.closing(steps.Writer(run, after=older)) as writer:
        newer = writer.start(kept._replace(step=older + 1)).result()
    return run / steps.FOLDER / str(newer)


def _spoil(rng: np.random.Generator, path: Path, content: bytes, kind: str) -> None:
    if kind == "deleted":
        path.unlink()
        return
    damaged = bytearray(content)
    if kind == "one bit":
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
    path.write_bytes({"one bit": damaged, "cut short": content[: rng.integers(len(content))], "emptied": b""}[kind])


def _went_back(run: Path, older: int) -> bool:
    """Whether the newest step is skipped by name, and the one before it is taken."""
    kept, skipped = checkpoint.latest_valid(run)
    return kept is not None and kept.step == older and len(skipped) == 1


def _refused(detector: Path) -> bool:
    try:
        checkpoint.load(detector)
    except CheckpointError as error:
        return str(detector) in str(error)
    return False
