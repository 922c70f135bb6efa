"""What keeping a training costs its steps: the same training with every epoch kept and with none, in turns."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from scoread_jax import checkpoint, config, datasets, pipeline
from scoread_jax.checkpoint import steps
from scoread_jax.execution import PLAIN, Execution
from scoread_jax.scene import Scene

# HYDICE's size, and the recipe that ScoreAD's authors published for it.
_PRESET, _ROWS, _COLS, _BANDS, _EPOCHS = "scoread-hydice", 80, 100, 175, 6


def cost(rounds: int) -> dict[str, Any]:
    """Train ``rounds`` pairs, the one or the other first in turn.

    Returns:
        Medians of the seconds of an epoch, the median of the pairs' ratios with its quartiles, and how many of the
        epochs were kept: one that ends while the last is still being written is not.
    """
    image = datasets.synthetic(rows=_ROWS, cols=_COLS, bands=_BANDS)
    pairs = []
    with mock.patch.object(steps.Writer, "start", autospec=True, side_effect=steps.Writer.start) as start:
        for number in range(rounds + 1):
            pair = {}
            for kept in (True, False) if number % 2 else (False, True):
                pair[kept] = _seconds(image, kept)
            if number:  # the first pair compiles
                pairs.append((pair[False], pair[True]))
            else:
                start.reset_mock()
    without, with_it = np.array(pairs).T
    lower, ratio, upper = np.quantile(with_it / without, (0.25, 0.5, 0.75))
    return {
        "preset": _PRESET,
        "pairs": rounds,
        "epochs of each": _EPOCHS,
        "epochs kept": start.call_count / rounds,
        "seconds of an epoch": {"not kept": float(np.median(without)), "kept": float(np.median(with_it))},
        "ratio": {"median": float(ratio), "quartiles": [float(lower), float(upper)]},
    }


def _seconds(image: Scene, kept: bool) -> float:
    """Mean seconds of an epoch after the first one."""
    recipe = config.replace(config.load(_PRESET), {"train.epochs": _EPOCHS})
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(keeper=checkpoint.Run(Path(folder) / "run", every=0)) if kept else PLAIN
        pipeline.fit(image, recipe, lambda _: ends.append(time.perf_counter()), execution=execution)
    return (ends[-1] - ends[0]) / (len(ends) - 1)
