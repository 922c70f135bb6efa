"""One device against several, and three ways to tell JAX: scoring a scene, and training steps of several batch sizes.

    python -m benchmarks.sharding [--device cpu|gpu|tpu] [--rounds 5] [--quick]

Five minutes on two CPU cores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.train_epoch import epoch
from scoread_jax import config, detect, noise, parallel
from scoread_jax.model import build

BANDS, PIXELS, PERTURBATIONS = 162, 2048, 20
BATCHES, STEPS = (16, 256, 2048), 10


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    everything = len(parallel.placement().devices)
    counts = sorted({1, everything})
    ways = [(count, way) for count in counts for way in parallel.STRATEGIES[: 3 if count > 1 else 1]]
    pixels = 64 if chosen.quick else PIXELS
    scoring = timing.interleaved({f"{count} {way}": scored(pixels, count, way) for count, way in ways}, chosen.rounds)
    rows: list[dict[str, Any]] = [
        {"work": f"score {pixels} pixels, K = {PERTURBATIONS}", "devices": count, "strategy": way,
         "seconds": scoring[f"{count} {way}"]}
        for count, way in ways
    ]  # fmt: skip
    for batch in BATCHES[:1] if chosen.quick else BATCHES:
        works: dict[str, Callable[[], Any]] = {}
        for count, way in ways:
            parallel.use_devices(chosen.device, strategy=way)
            works[f"{count} {way}"] = epoch("scoread-hydice", BANDS, batch, STEPS, devices=count)
        taken = timing.interleaved(works, chosen.rounds)
        for count, way in ways:
            seconds = {name: value / STEPS for name, value in taken[f"{count} {way}"].items()}
            rows.append(
                {"work": f"training step, batch {batch}", "devices": count, "strategy": way, "seconds": seconds}
            )
    for row in rows:
        print(f"{row['work']}, {row['devices']} {row['strategy']}: {1e3 * row['seconds']['median']:.1f} ms")
    timing.write("sharding", chosen, {"rows": rows})


def scored(pixels: int, count: int, strategy: str) -> Callable[[], jax.Array]:
    """The published network's scores of made spectra."""
    model = build(config.load("scoread-hydice"), BANDS, native=parallel.on_cpu())
    variables = model.network.init(jax.random.key(0))
    spectra = jax.random.uniform(jax.random.key(1), (pixels, BANDS))
    devices = parallel.placement().devices[:count]

    def work() -> jax.Array:
        return detect.pixel_scores(
            jax.random.key(2), variables, spectra, jnp.arange(pixels), None, jnp.asarray([0.05]),
            sde=model.sde, score=model.score, forward=model.forward, statistic=model.statistic,
            perturbations=PERTURBATIONS, estimator=noise.ESTIMATORS["reference"], at_time=model.network.at_time,
            chunk=detect.chunk_size(pixels, PERTURBATIONS, model.network.evaluation_bytes),
            strategy=strategy, devices=devices,
        )  # fmt: skip

    return work


if __name__ == "__main__":
    main()
