"""Time of a training step: the published network at several batch sizes, and the default's.

    python -m benchmarks.train_epoch [--device cpu|gpu|tpu] [--rounds 5] [--quick]

Three minutes on two CPU cores.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from scoread_jax import config, parallel, train
from scoread_jax.model import build

CASES = (("scoread-hydice", 175, 16), ("scoread-hydice", 175, 64), ("scoread-hydice", 175, 256), ("default", 30, 128))


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    cases = CASES[::3] if chosen.quick else CASES
    works = {
        f"{preset} {batch}": epoch(preset, bands, batch, steps_of(batch, chosen.quick))
        for preset, bands, batch in cases
    }
    taken = timing.interleaved(works, chosen.rounds)
    rows: list[dict[str, Any]] = []
    for preset, bands, batch in cases:
        steps = steps_of(batch, chosen.quick)
        step = {name: value / steps for name, value in taken[f"{preset} {batch}"].items()}
        rows.append({"preset": preset, "bands": bands, "batch": batch, "steps": steps, "step_seconds": step})
        print(f"{preset} {batch}: {1e3 * step['median']:.2f} ms a step, {batch / step['median']:.0f} spectra a second")
    timing.write("train_epoch", chosen, {"rows": rows})


def steps_of(batch: int, quick: bool) -> int:
    """Steps in a call, fewer of larger batches."""
    return 4 if quick else min(200, max(20, 6400 // batch))


def epoch(preset: str, bands: int, batch: int, steps: int, members: int = 1, devices: int = 1) -> Any:
    """So many steps in one compiled loop, from the start; of an ensemble, or on several devices."""
    run, start = loop(preset, bands, batch, steps, members, devices)
    return lambda: run(*start())[1]


def loop(preset: str, bands: int, batch: int, steps: int, members: int = 1, devices: int = 1) -> tuple[Any, Any]:
    """``train.run_steps`` with all that is fixed, and what gives its arguments: the state among them is consumed."""
    changes = {"train.batch_size": batch, "train.ensemble": members, "train.devices": devices}
    recipe = config.replace(config.load(preset), changes)
    model = build(recipe, bands, native=parallel.on_cpu())
    variables = model.network.init(jax.random.key(0))
    variables = variables | {"constants": variables["constants"] | {"variance": jnp.ones(bands)}}
    batches = parallel.spread_batches(devices)
    spread = parallel.spread_trainings(members) if members > 1 else None
    whole = batches.place if spread is None else spread.place_shared
    spectra = whole(jax.random.uniform(jax.random.key(1), (steps * batch, bands)))
    chosen = jnp.arange(len(spectra), dtype=jnp.int32)
    key, order = whole((jax.random.key(2), train.epoch_order(jax.random.key(2), 0, chosen, batch_size=batch)))
    run = functools.partial(
        train.run_steps, loss=model.loss, optimizer=train.make_optimizer(recipe.train, steps),
        ema_decay=recipe.train.ema_decay, batches=batches, members=spread,
    )  # fmt: skip

    def start() -> tuple[Any, ...]:
        state = train.init_state(variables, recipe.train, len(spectra))
        state = batches.place(state) if spread is None else train.place(state, spread)
        return key, state, steps, order, spectra, None

    return run, start


if __name__ == "__main__":
    main()
