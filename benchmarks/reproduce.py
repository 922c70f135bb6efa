"""Train ScoreAD from scratch by its published recipe, over several seeds, beside the authors' published maps.

    python -m benchmarks.reproduce [--device cpu|gpu|tpu] [--scenes hydice …] [--seeds 0 1 2] [--quick]

About six minutes a seed and scene on one CPU core. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.common import environment, overlap, read_result, write_result
from scoread_jax import config, datasets, metrics, pipeline

SCENES = ("hydice", "hyperion", "pavia")


QUICK = {"train.epochs": 1, "train.batch_size": 1024, "detect.perturbations": 2}


def run(name: str, seed: int, quick: bool = False) -> dict[str, Any]:
    image = datasets.load(name)
    assert image.truth is not None
    recipe = config.replace(config.load(f"scoread-{name}"), {"seed": seed} | (QUICK if quick else {}))
    start = time.perf_counter()
    losses: list[float] = []
    detector = pipeline.fit(image, recipe, lambda progress: losses.append(progress.loss))
    trained = time.perf_counter()
    anomaly_map = pipeline.score(detector, image)
    scored = time.perf_counter()
    ours, published, _ = overlap(name, anomaly_map, image.truth)
    return {
        "scene": name,
        "seed": seed,
        "metrics": metrics.evaluate(anomaly_map, image.truth).as_dict(),
        "pearson_with_published_map": float(np.corrcoef(ours.ravel(), published.ravel())[0, 1]),
        "map_mean": float(ours.mean()),
        "loss_last_epoch": losses[-1],
        "train_seconds": trained - start,
        "score_seconds": scored - trained,
    }


def published(name: str) -> dict[str, Any]:
    image = datasets.load(name)
    assert image.truth is not None
    _, map_, truth = overlap(name, np.zeros(image.truth.shape), image.truth)
    return {"metrics": metrics.evaluate(map_, truth).as_dict(), "map_mean": float(map_.mean())}


def main() -> None:
    parser = timing.parser(__doc__, rounds=None)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = timing.prepared(parser)
    if options.quick:
        print(run(options.scenes[0], options.seeds[0], quick=True))
        return
    result: dict[str, Any] = read_result("reproduce") or {"runs": []}
    done = {(entry["scene"], entry["seed"]) for entry in result["runs"]}
    for name in options.scenes:
        result.setdefault("published", {})[name] = published(name)
        for seed in options.seeds:
            if (name, seed) in done:
                continue
            result["runs"].append(run(name, seed) | {"environment": environment()})
            write_result("reproduce", result)
            last = result["runs"][-1]
            print(name, seed, last["metrics"]["auc"], last["metrics"]["average_precision"], flush=True)


if __name__ == "__main__":
    main()
