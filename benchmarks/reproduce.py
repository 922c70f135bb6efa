"""Train ScoreAD from scratch by its published recipe, over several seeds, beside the authors' published maps.

    python -m benchmarks.reproduce [--scenes hydice hyperion pavia] [--seeds 0 1 2]

About six minutes a seed and scene on one CPU core. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import numpy as np

from benchmarks.common import environment, published_map, read_result, write_result
from scoread_jax import config, datasets, metrics, pipeline

SCENES = ("hydice", "hyperion", "pavia")

# The published Pavia map covers 150 × 150 pixels, of which the public file holds the top left part.
PAVIA_IN_PUBLISHED = (slice(0, 101), slice(0, 115))
PAVIA_IN_SCENE = (slice(4, 105), slice(5, 120))


def overlap(name: str, anomaly_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of our map and of the published map that show the same pixels."""
    published = published_map(name)
    if name == "pavia":
        return anomaly_map[PAVIA_IN_SCENE], published[PAVIA_IN_PUBLISHED]
    return anomaly_map, published


def overlapping_truth(name: str, truth: np.ndarray) -> np.ndarray:
    """The part of the ground truth that the published map shows."""
    return truth[PAVIA_IN_SCENE] if name == "pavia" else truth


def run(name: str, seed: int) -> dict[str, Any]:
    image = datasets.load(name)
    assert image.truth is not None
    recipe = dataclasses.replace(config.load(f"scoread-{name}"), seed=seed)
    start = time.perf_counter()
    losses: list[float] = []
    detector = pipeline.fit(image, recipe, lambda progress: losses.append(progress.loss))
    trained = time.perf_counter()
    anomaly_map = pipeline.score(detector, image)
    scored = time.perf_counter()
    ours, published = overlap(name, anomaly_map)
    return {
        "scene": name,
        "seed": seed,
        "metrics": metrics.evaluate(anomaly_map, image.truth).as_dict(),
        "pearson_with_published_map": float(np.corrcoef(ours.ravel(), published.ravel())[0, 1]),
        "map_mean": float(np.nanmean(ours)),
        "loss_last_epoch": losses[-1],
        "train_seconds": trained - start,
        "score_seconds": scored - trained,
    }


def published(name: str) -> dict[str, Any]:
    truth = datasets.load(name).truth
    assert truth is not None
    map_ = published_map(name)
    if name == "pavia":
        map_, truth = map_[PAVIA_IN_PUBLISHED], overlapping_truth(name, truth)
    return {"metrics": metrics.evaluate(map_, truth).as_dict(), "map_mean": float(map_.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    result = read_result("reproduce") or {"runs": []}
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
