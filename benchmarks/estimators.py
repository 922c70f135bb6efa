"""Fewer evaluations for the same map: how the perturbed copies' noise is drawn, against how many copies there are.

    python -m benchmarks.estimators [--device cpu|gpu|tpu] [--seeds 0 1 2] [--scenes hydice …] [--quick]

The authors' HYDICE network (read with PyTorch, ``pip install '.[torch]'``): rank correlation with its map at K = 1000,
of all pixels and of that map's highest 5 %, and AUC and AP. ``8, then 100`` gives few copies to every pixel and many to
the highest tenth. And the default's network member on every scene, alone, with the default's treatment in the image.
Forty minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from benchmarks import timing
from benchmarks.accuracy import SCENES
from benchmarks.common import reference_folder
from scoread_jax import config, datasets, detect, metrics, pipeline, scene, weights
from scoread_jax.model import build
from scoread_jax.noise import ESTIMATORS
from scoread_jax.scene import Scene

MANY, T, STAGES = 1000, 0.05, ((8, 100), (16, 100), (32, 100))
COPIES, MEMBER_COPIES = (4, 8, 16, 32, 64, 100, 200), (4, 8, 12, 24, 48)


def main() -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    chosen = timing.prepared(parser)
    if chosen.quick:
        chosen.seeds, chosen.scenes = [0], chosen.scenes[:1]
    published = published_network(chosen.seeds, chosen.quick)
    for row in published:
        print(
            f"{row['estimator']:11s} {row['copies']:>8} seed {row['seed']}: {row['evaluations']:6.1f} evaluations, "
            f"rank correlation {row['spearman']:.4f}, of the highest {row['spearman_top']:.4f}, "
            f"AUC {row['auc']:.4f}, AP {row['average_precision']:.3f}"
        )
    member = [
        row | {"scene": name, "seed": seed}
        for name in chosen.scenes
        for seed in chosen.seeds
        for row in default_member(datasets.load(name), seed, chosen.quick)
    ]
    timing.write("estimators", chosen, {"published": published, "member": member})


def published_network(seeds: list[int], quick: bool) -> list[dict[str, Any]]:
    """The authors' network at each number of copies by each estimator, against many independent copies."""
    image = datasets.load("hydice")
    state = weights.read_state_dict(reference_folder() / "hydice_unconditional.pth")
    variables = weights.from_state_dict(state, conditional=False).variables
    model = build(config.load("scoread-hydice"), image.bands)
    spectra = scene.spectra(image, scene.global_min_max(image))

    def values(key: int, copies: int, name: str, pixels: np.ndarray) -> np.ndarray:
        found = detect.pixel_scores(
            jax.random.key(key), variables, jnp.asarray(spectra[pixels]), jnp.asarray(pixels), None, jnp.asarray([T]),
            sde=model.sde, score=model.score, statistic=model.statistic, perturbations=copies,
            estimator=ESTIMATORS[name], at_time=model.network.at_time,
            chunk=detect.chunk_size(len(pixels), copies, model.network.evaluation_bytes),
        )  # fmt: skip
        return np.asarray(found[0])

    everything = np.arange(image.pixels)
    many = values(10_000, 16 if quick else MANY, "reference", everything)
    top = np.argsort(many)[-len(many) // 20 :]
    truth = image.truth
    assert truth is not None

    def row(name: str, copies: Any, seed: int, evaluations: float, found: np.ndarray) -> dict[str, Any]:
        figures = metrics.evaluate(scene.to_map(image, found), truth)
        ranks = {
            "spearman": correlation(found, many),
            "spearman_top": correlation(found[top], many[top]),
        }
        about = {"estimator": name, "copies": copies, "seed": seed, "evaluations": evaluations}
        return about | ranks | {"auc": figures.auc, "average_precision": figures.average_precision}

    rows = []
    for seed in seeds:
        for name in ESTIMATORS:
            for copies in (4,) if quick else COPIES:
                rows.append(row(name, copies, seed, copies, values(seed, copies, name, everything)))
            for few, all_copies in ((2, 4),) if quick else STAGES:
                found = values(seed, few, name, everything)
                again = np.sort(np.argsort(found)[-len(found) // 10 :])
                # The sum of independent directions grows as the root of their number.
                found = found * (all_copies / few) ** 0.5
                found[again] = values(seed, all_copies, name, again)
                label = f"{few}, then {all_copies}"
                rows.append(row(name, label, seed, few + all_copies / 10, found))
    return rows


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, of ranks."""
    found: Any = stats.spearmanr(first, second)
    return float(found.statistic)


def default_member(image: Scene, seed: int, quick: bool) -> list[dict[str, Any]]:
    """AUC and AP of the default's network member, trained once, at each number of copies by each estimator."""
    recipe = dataclasses.replace(config.load("default"), seed=seed)
    detector = pipeline.fit(image, config.replace(recipe, {"train.steps": 20}) if quick else recipe)
    rows = []
    for name in ESTIMATORS:
        for copies in (4,) if quick else MEMBER_COPIES:
            alone = {"fusion.members": ("network",), "fusion.weights": (1.0,)}
            drawn = {"detect.estimator": name, "detect.perturbations": copies}
            asked = dataclasses.replace(detector, config=config.replace(detector.config, alone | drawn))
            anomaly_map = pipeline.score(asked, image)
            assert image.truth is not None
            figures = metrics.evaluate(anomaly_map, image.truth)
            found = {"auc": figures.auc, "average_precision": figures.average_precision}
            rows.append({"estimator": name, "copies": copies} | found)
            print(f"{image.name} {seed} {name:11s} {copies:3d}: {figures.auc:.4f} {figures.average_precision:.3f}")
    return rows


if __name__ == "__main__":
    main()
