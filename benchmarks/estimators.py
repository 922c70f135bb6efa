"""Fewer evaluations for the same map: how the copies' noise is drawn, against how many copies there are.

    python -m benchmarks.estimators [--device cpu|gpu|tpu] [--seeds 0 1 2] [--scenes hydice …] [--quick]

The authors' networks (read with PyTorch, ``pip install '.[torch]'``) on their scenes: rank correlation with the map at
K = 1000, on the anomalous and 3000 random pixels and on the highest 5 % of those, and AUC and AP on all pixels. Among
them: few copies of every spectrum and many of the highest tenth (``detect.first``), and products of bfloat16
(``detect.precision``). Then the default on every scene: its network member alone, and the whole of it. 25 minutes on
two CPU cores.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import authors_networks, timing
from benchmarks.accuracy import SCENES
from scoread_jax import config, datasets, maps, members, metrics, pipeline, scene, scoring
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Detector
from scoread_jax.execution import PLAIN
from scoread_jax.keep import NOTHING_KEPT
from scoread_jax.noise import ESTIMATORS
from scoread_jax.scene import Scene

MANY, SAMPLE, MANY_SEED = 1000, 3000, 10_000
COPIES, PUBLISHED_COPIES, STAGES, MEMBER_COPIES = (4, 8, 16, 32), 100, (8, 16), (2, 4, 8, 12)
ALONE = {"fusion.members": ("network",), "fusion.weights": (1.0,)}


def main() -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES), help="of the default's rows")
    chosen = timing.prepared(parser)
    if chosen.quick:
        chosen.seeds, chosen.scenes = [0], chosen.scenes[:1]
    published = [
        row
        for name in list(authors_networks.FILES)[: 1 if chosen.quick else None]
        for row in published_network(name, chosen.seeds, chosen.quick)
    ]
    member = [
        row | {"scene": name, "seed": seed}
        for name in chosen.scenes
        for seed in chosen.seeds
        for row in default_member(shortened(datasets.load(name), chosen.quick), seed, chosen.quick)
    ]
    timing.write("estimators", chosen, {"published": published, "member": member})


def shortened(image: Scene, quick: bool) -> Scene:
    """A scene, or its middle rows, which hold anomalies, where it must be quick."""
    if not quick:
        return image
    assert image.truth is not None
    row = int(np.flatnonzero(image.truth.any(axis=1))[0])
    rows = slice(max(0, row - 4), row + 4)
    return dataclasses.replace(
        image, cube=image.cube[rows], valid=image.valid[rows], truth=image.truth[rows], georeference=None
    )


def cases(quick: bool) -> list[tuple[str, Any, dict[str, Any]]]:
    """Estimator, number of copies as in the table, and what they are in the configuration."""
    if quick:
        return [(name, 4, drawn(name, 4)) for name in ESTIMATORS]
    found: list[tuple[str, Any, dict[str, Any]]]
    found = [(name, copies, drawn(name, copies)) for name in ESTIMATORS for copies in COPIES]
    found.append(("reference", PUBLISHED_COPIES, drawn("reference", PUBLISHED_COPIES)))
    for name in ("reference", "antithetic"):
        for few in STAGES:
            values = drawn(name, PUBLISHED_COPIES) | {"detect.first": few}
            found.append((name, f"{few}, then {PUBLISHED_COPIES}", values))
    rounded = {"detect.precision": "bfloat16"}
    found.append(("reference, bfloat16", PUBLISHED_COPIES, drawn("reference", PUBLISHED_COPIES) | rounded))
    return found


def drawn(name: str, copies: int) -> dict[str, Any]:
    """So many copies by an estimator."""
    return {"detect.estimator": name, "detect.perturbations": copies, "detect.first": 0}


def published_network(name: str, seeds: list[int], quick: bool) -> list[dict[str, Any]]:
    """The authors' network of a scene at each number of copies by each estimator, against many independent copies."""
    image = shortened(datasets.load(name), quick)
    truth = image.truth
    assert truth is not None
    known = np.random.default_rng(0).random(image.pixels) < SAMPLE / image.pixels
    sample = np.flatnonzero(known | truth[image.valid]).astype(np.int32)
    spectra = maps.Spectra(image, scene.global_min_max(image), None)
    many = asked(authors_networks.detector(name, MANY_SEED), drawn("reference", 16 if quick else MANY))
    nothing = np.zeros((1, image.pixels), np.float32)
    expected = scoring._scores(many, spectra, PLAIN, "scoring", sample, nothing)[0, sample]
    top = np.argsort(expected)[-len(expected) // 20 :]
    rows = []
    for seed in seeds:
        detector = authors_networks.detector(name, seed)
        for estimator, copies, values in cases(quick):
            one = asked(detector, values)
            start = time.perf_counter()
            found = scoring.network_member(one, spectra, PLAIN)
            seconds = time.perf_counter() - start
            figures = metrics.evaluate(scene.to_map(image, found), truth)
            rows.append(
                {
                    "scene": name,
                    "estimator": estimator,
                    "copies": copies,
                    "seed": seed,
                    "evaluations": evaluations(one.config),
                    "seconds": seconds,
                    "spearman": correlation(found[sample], expected),
                    "spearman_top": correlation(found[sample][top], expected[top]),
                    "auc": figures.auc,
                    "average_precision": figures.average_precision,
                }
            )
            print(rows[-1], flush=True)
    return rows


def asked(detector: Detector, values: dict[str, Any]) -> Detector:
    """A detector with other values of its configuration."""
    return dataclasses.replace(detector, config=config.replace(detector.config, values))


def evaluations(recipe: Config) -> float:
    """Of the network for a pixel at one noise time."""
    asked = recipe.detect
    return asked.first + asked.refine * asked.perturbations if asked.first else asked.perturbations


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, of ranks."""
    found: Any = stats.spearmanr(first, second)
    return float(found.statistic)


def default_member(image: Scene, seed: int, quick: bool) -> list[dict[str, Any]]:
    """AUC and AP of the default and of its network member, trained once, at each number of copies by each estimator."""
    recipe = config.replace(config.load("default"), {"seed": seed} | ({"train.steps": 20} if quick else {}))
    spectra = maps.Spectra(image, scene.global_min_max(image), None)
    others = maps.closed_form_members(spectra, recipe, PLAIN)
    detector = pipeline._fit(spectra, others, recipe, None, AS_CONFIGURED, NOTHING_KEPT)
    alone = config.replace(recipe, ALONE)
    truth = image.truth
    assert truth is not None
    rows = []
    for name in ESTIMATORS:
        for copies in MEMBER_COPIES[:1] if quick else MEMBER_COPIES:
            found = {"network": scoring.network_member(asked(detector, drawn(name, copies)), spectra, PLAIN)}
            row: dict[str, Any] = {"estimator": name, "copies": copies}
            for part, fusion, values in (("", alone.fusion, found), ("whole_", recipe.fusion, others | found)):
                figures = metrics.evaluate(scene.to_map(image, members.fuse(image.valid, values, fusion)), truth)
                row |= {f"{part}auc": figures.auc, f"{part}average_precision": figures.average_precision}
            rows.append(row)
            print(image.name, seed, row, flush=True)
    return rows


if __name__ == "__main__":
    main()
