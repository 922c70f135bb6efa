"""Score real scenes with the authors' own trained networks and compare with the maps they published.

    python -m benchmarks.authors_networks [--device cpu|gpu|tpu] [--keys 0 1 2] [--quick]

Needs PyTorch (``pip install '.[torch]'``) to read the files. About a minute a key and scene on one CPU core.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.common import environment, overlap, reference_folder, write_result
from scoread_jax import config, datasets, metrics, pipeline, weights
from scoread_jax.detect import Detector

FILES = {"hydice": "hydice_unconditional.pth", "pavia": "pavia_conditional_ring7_5.pth"}
BACKGROUND_SAMPLE = 700


def detector(name: str, seed: int) -> Detector:
    recipe = dataclasses.replace(config.load(f"scoread-{name}"), seed=seed)
    state = weights.read_state_dict(reference_folder() / FILES[name])
    imported = weights.from_state_dict(state, conditional=recipe.context.conditional, source=FILES[name])
    return Detector(recipe, imported.variables, imported.bands)


def run(name: str, seed: int, values: dict[str, Any] | None = None) -> dict[str, Any]:
    image = datasets.load(name)
    assert image.truth is not None
    asked = detector(name, seed)
    asked = dataclasses.replace(asked, config=config.replace(asked.config, values or {}))
    anomaly_map = pipeline.score(asked, image)
    ours, published, truth = overlap(name, anomaly_map, image.truth)
    ours, published, truth = (array.ravel() for array in (ours, published, truth))
    background = np.random.default_rng(seed).choice(np.flatnonzero(~truth), BACKGROUND_SAMPLE, replace=False)
    sample = np.concatenate([np.flatnonzero(truth), background])
    return {
        "scene": name,
        "key": seed,
        "metrics": metrics.evaluate(anomaly_map, image.truth).as_dict(),
        "mean_over_published": float(ours.mean() / published.mean()),
        "pearson_whole": float(np.corrcoef(ours, published)[0, 1]),
        "pearson_sample": float(np.corrcoef(ours[sample], published[sample])[0, 1]),
        "sample": f"{int(truth.sum())} anomalous and {BACKGROUND_SAMPLE} random background pixels",
    }


def main() -> None:
    parser = timing.parser(__doc__, rounds=None)
    parser.add_argument("--keys", nargs="+", type=int, default=[0, 1, 2])
    options = timing.prepared(parser)
    if options.quick:
        print(run("hydice", options.keys[0], {"detect.perturbations": 2}))
        return
    result: dict[str, Any] = {"environment": environment(), "runs": []}
    for name in FILES:
        for seed in options.keys:
            result["runs"].append(run(name, seed))
            print(result["runs"][-1], flush=True)
    write_result("authors_networks", result)


if __name__ == "__main__":
    main()
