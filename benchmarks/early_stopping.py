"""What ``train.patience`` does to the published recipe: steps taken, and AUC and AP of what scores then.

    python -m benchmarks.early_stopping [--device cpu|gpu|tpu] [--scenes hydice pavia] [--seeds 0 1 2] [--quick]

One training a seed and scene, watched to its end: where each patience would have ended it, and with which parameters,
is read from it, since patience does not change the course. Quarter of an hour on two CPU cores.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from benchmarks import timing
from benchmarks.reproduce import SCENES
from scoread_jax import config, datasets, metrics, pipeline, train

PATIENCE = (1, 2, 3, 5, 10)
_TO_THE_END = 1_000_000


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=["hydice", "pavia"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = timing.prepared(parser)
    if chosen.quick:
        chosen.scenes, chosen.seeds = chosen.scenes[:1], chosen.seeds[:1]
    rows = [row for name in chosen.scenes for seed in chosen.seeds for row in watched(name, seed, chosen.quick)]
    timing.write("early_stopping", chosen, {"rows": rows})


def watched(name: str, seed: int, quick: bool) -> list[dict[str, Any]]:
    """One training, and a row for each patience and for the end: its best and its last parameters."""
    image, recipe = datasets.load(name), config.load(f"scoread-{name}")
    values = {"seed": seed, "train.patience": _TO_THE_END}
    if quick:
        values |= {"train.epochs": 3, "train.batch_size": 1024, "detect.perturbations": 2}
    ends: dict[Any, tuple[train.Progress, Any]] = {}

    def watch(progress: train.Progress) -> None:
        best = progress.state.best
        if progress.held_out is None or best is None:
            return
        for patience in PATIENCE:
            if patience not in ends and int(best.waited) >= patience:
                ends[patience] = progress, jax.device_get(best.params)
        if progress.epoch == progress.epochs:
            ends["the end, best"] = progress, jax.device_get(best.params)
            ends["the end, last"] = progress, jax.device_get(progress.state.latest["params"])

    detector = pipeline.fit(image, config.replace(recipe, values), watch)
    rows: list[dict[str, Any]] = []
    assert image.truth is not None  # first looked at when all maps are decided
    for patience, (progress, params) in ends.items():
        one = dataclasses.replace(detector, variables=detector.variables | {"params": params})
        found = metrics.evaluate(pipeline.score(one, image), image.truth)
        row = {"scene": name, "seed": seed, "patience": patience, "steps": progress.step, "epoch": progress.epoch}
        rows.append(row | {"auc": found.auc, "average_precision": found.average_precision})
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
