"""One cell of a table: a detector's figures on a scene with a seed, kept on disk so that no run is done twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.variants import Variant
from scoread_jax import datasets, metrics, scene
from scoread_jax.io.atomic import write_json
from scoread_jax.scene import Scene

CACHE = Path(__file__).resolve().parent / "cache"


def fill(
    variants: Sequence[Variant], scenes: Sequence[str], fresh: bool = False, folder: Path = CACHE
) -> list[dict[str, Any]]:
    """Every variant on every scene with each of its seeds; what the cache holds is not run again.

    Args:
        variants: the rows.
        scenes: by name, with ground truth.
        fresh: run all of it again.
        folder: of the cache, a file a cell.

    Returns:
        A record a cell: method, scene, digests of configuration and data, seed, metrics, seconds.
    """
    cells = []
    for name in scenes:
        image = datasets.load(name)
        data = _data_digest(image)
        for variant in variants:
            places = {seed: folder / f"{_key(variant.digest, data, seed)}.json" for seed in variant.seeds}
            missing = [seed for seed, place in places.items() if fresh or not place.is_file()]
            folder.mkdir(parents=True, exist_ok=True)
            for cell in _run(variant, image, data, missing):
                write_json(places[cell["seed"]], cell)
            for seed, place in places.items():
                cell = json.loads(place.read_text(encoding="utf-8")) | {"method": variant.name}
                cells.append(cell)
                figures = cell["metrics"]
                print(
                    f"{name}  {variant.name}  seed {seed}: AUC {figures['auc']:.4f}  "
                    f"AP {figures['average_precision']:.3f}  {cell['seconds']:.1f} s",
                    flush=True,
                )
    return cells


def remember(cells: Sequence[dict[str, Any]], folder: Path = CACHE) -> None:
    """Put cells of a finished table where ``fill`` looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        place = folder / f"{_key(cell['configuration'], cell['data'], cell['seed'])}.json"
        if not place.exists():
            write_json(place, cell)


def _run(variant: Variant, image: Scene, data: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The cells of some seeds, which share the time that they took together."""
    if not seeds:
        return []
    start = time.perf_counter()
    maps = variant.detect(image, seeds)
    seconds = round((time.perf_counter() - start) / len(seeds), 2)
    record = {"method": variant.name, "scene": image.name, "configuration": variant.digest, "data": data}
    # The truth is first looked at here, when the maps are final.
    assert image.truth is not None
    truth = image.truth
    return [
        record | {"seed": seed, "metrics": metrics.evaluate(found, truth).as_dict(), "seconds": seconds}
        for seed, found in zip(seeds, maps, strict=True)
    ]


def _key(digest: str, data: str, seed: int) -> str:
    return hashlib.sha256(f"{digest} {data} {seed}".encode()).hexdigest()[:24]


def _data_digest(image: Scene) -> str:
    """Of what a detector sees, and of the truth that judges it."""
    truth = np.packbits(np.asarray(image.truth, bool)).tobytes()
    return hashlib.sha256(scene.digest(image).encode() + truth).hexdigest()[:16]
