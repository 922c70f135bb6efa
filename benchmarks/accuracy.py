"""AUC and AP of configurations and of simple detectors, on every public scene with ground truth.

    python -m benchmarks.accuracy [--variants default ...] [--scenes hydice ...] [--seeds 0 1 2] [--peers]

A variant is a preset or a TOML file. Runs that ``results/accuracy.json`` already holds for the same configuration are
not repeated. ``--peers`` adds detectors of scikit-learn (``pip install '.[bench]'``) and RX. About ten seconds a seed
and scene for the default on one CPU core.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import environment, read_result, write_result
from scoread_jax import config, datasets, metrics, pipeline, scene
from scoread_jax.scene import Scene

SCENES = (
    "hydice", "hyperion", "pavia", "los-angeles-1", "los-angeles-2", "gulfport", "texas-coast", "cat-island",
    "sandiego", "salinas-implants-14", "salinas-implants-4",
)  # fmt: skip


def run_variant(name: str, seed: int, image: Scene) -> dict[str, Any]:
    recipe = dataclasses.replace(config.load(name), seed=seed)
    start = time.perf_counter()
    _, anomaly_map = pipeline.detect(image, recipe)
    return _entry(anomaly_map, image, time.perf_counter() - start)


def run_peer(name: str, seed: int, image: Scene) -> dict[str, Any]:
    start = time.perf_counter()
    values = PEERS[name](scene.spectra(image, scene.global_min_max(image)), seed)
    seconds = time.perf_counter() - start
    return _entry(scene.to_map(image, values), image, seconds)


def rx(spectra: np.ndarray, seed: int, ridge: float = 0.0) -> np.ndarray:
    """Squared Mahalanobis distance to the scene's mean; ``ridge`` in units of the mean band variance."""
    del seed
    centred = (spectra - spectra.mean(axis=0)).astype(np.float64)
    covariance = centred.T @ centred / len(centred)
    covariance += ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.einsum("ij,ij->i", centred @ np.linalg.pinv(covariance, hermitian=True), centred)


def ridge_rx(spectra: np.ndarray, seed: int) -> np.ndarray:
    """RX with a thousandth of the mean variance added to each band's."""
    return rx(spectra, seed, ridge=1e-3)


def k_nn(spectra: np.ndarray, seed: int) -> np.ndarray:
    """Distance to the fifth nearest spectrum."""
    from sklearn.neighbors import NearestNeighbors

    del seed
    return NearestNeighbors(n_neighbors=6).fit(spectra).kneighbors(spectra)[0][:, 5]


def lof(spectra: np.ndarray, seed: int) -> np.ndarray:
    """Local outlier factor with 20 neighbours."""
    from sklearn.neighbors import LocalOutlierFactor

    del seed
    return -LocalOutlierFactor(n_neighbors=20).fit(spectra).negative_outlier_factor_


def isolation_forest(spectra: np.ndarray, seed: int) -> np.ndarray:
    """Isolation forest of 200 trees."""
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(n_estimators=200, random_state=seed).fit(spectra).score_samples(spectra)


PEERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "RX": rx,
    "ridge RX": ridge_rx,
    "k-NN": k_nn,
    "LOF": lof,
    "isolation forest": isolation_forest,
}


def digest_of(variant: str) -> str:
    table = config.as_table(config.load(variant)) | {"seed": None}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="*", default=["default"])
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    runs: list[dict[str, Any]] = (read_result("accuracy") or {"runs": []})["runs"]
    methods = {name: (digest_of(name), run_variant, options.seeds) for name in options.variants}
    if options.peers:
        methods |= {name: ("peer", run_peer, options.seeds if "forest" in name else [0]) for name in PEERS}
    # What an older configuration of the same name gave is no longer true of it.
    runs = [run for run in runs if run["method"] not in methods or run["configuration"] == methods[run["method"]][0]]
    done = {(run["method"], run["scene"], run["seed"]) for run in runs}
    for name in options.scenes:
        image = datasets.load(name)
        for method, (digest, runner, seeds) in methods.items():
            for seed in seeds:
                if (method, name, seed) in done:
                    continue
                found = runner(method, seed, image)
                runs.append({"method": method, "scene": name, "seed": seed, "configuration": digest} | found)
                write_result("accuracy", {"environment": environment(), "runs": runs})
                figures = found["metrics"]
                print(f"{name} {method} {seed}: {figures['auc']:.4f} {figures['average_precision']:.3f}", flush=True)


def _entry(anomaly_map: np.ndarray, image: Scene, seconds: float) -> dict[str, Any]:
    # The truth is first looked at here, when the map is final.
    assert image.truth is not None
    return {"metrics": metrics.evaluate(anomaly_map, image.truth).as_dict(), "seconds": round(seconds, 2)}


if __name__ == "__main__":
    main()
