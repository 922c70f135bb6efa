"""Time and memory of scoring a scene with the published network, against pixels, perturbations and noise times.

    python -m benchmarks.score_scene [--device cpu|gpu|tpu] [--rounds 5] [--quick]

Each size is varied alone; the slope is that of the logarithms, so 1 is in proportion. The memory is what the compiled
call takes beyond its arguments and its result, as XLA says. Ten minutes on two CPU cores.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.roofline import BANDS, published, score
from scoread_jax import detect, noise, parallel

USUAL = {"pixels": 2000, "perturbations": 40, "times": 1}
VARIED = {"pixels": (500, 1000, 2000, 4000, 8000), "perturbations": (20, 40, 80, 160), "times": (1, 2, 4, 8)}
QUICK = {"pixels": (100, 200), "perturbations": (4, 8), "times": (1, 2)}


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    usual = {"pixels": 200, "perturbations": 4, "times": 1} if chosen.quick else USUAL
    varied = QUICK if chosen.quick else VARIED
    cases: list[tuple[str, dict[str, int]]] = [
        (name, usual | {name: size}) for name, sizes in varied.items() for size in sizes
    ]
    works = {
        f"{name} {case[name]}": score(case["pixels"], case["perturbations"], times_of(case["times"]))
        for name, case in cases
    }
    works["scene"] = score(200 if chosen.quick else 8000, 100)
    taken = timing.interleaved(works, chosen.rounds)
    rows: list[dict[str, Any]] = [
        case | {"varied": name, "seconds": taken[f"{name} {case[name]}"], "bytes": temporary_bytes(case)}
        for name, case in cases
    ]
    slopes = timing.slopes(rows)
    for row in rows:
        print(row["varied"], row[row["varied"]], f"{row['seconds']['median']:.3f} s, {row['bytes'] / 2**20:.1f} MiB")
    print("slopes", {name: round(value, 3) for name, value in slopes.items()})
    print(f"8000 pixels, {BANDS} bands, K = 100: {taken['scene']['median']:.2f} s")
    timing.write("score_scene", chosen, {"scene": taken["scene"], "rows": rows, "slopes": slopes})


def times_of(count: int) -> tuple[float, ...]:
    """So many noise times."""
    return tuple(0.05 * (1 + number) for number in range(count))


def temporary_bytes(case: dict[str, int]) -> int:
    """What one device's part takes beyond arguments and result."""
    model, variables = published()
    pixels, K = -(-case["pixels"] // len(parallel.placement().devices)), case["perturbations"]
    reference, times = noise.ESTIMATORS["reference"], jnp.asarray(times_of(case["times"]))
    chunk = detect.chunk_size(case["pixels"], K, model.network.evaluation_bytes)
    scorer = detect._scorer(model.sde, model.score, model.forward, model.statistic, K, reference, chunk)
    moments = detect._each_time(model.sde, model.network.at_time, reference, K, BANDS)
    shared = variables, None, moments(jax.random.key(0), variables, times)
    lowered = jax.jit(scorer).lower(shared, (jnp.ones((pixels, BANDS)), jnp.arange(pixels), None))
    analysis: Any = lowered.compile().memory_analysis()
    return int(analysis.temp_size_in_bytes)


if __name__ == "__main__":
    main()
