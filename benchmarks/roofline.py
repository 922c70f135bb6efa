"""How near scoring comes to what the devices can do: their matmul rate and memory bandwidth, and our share of each.

    python -m benchmarks.roofline [--device cpu|gpu|tpu] [--rounds 7] [--quick]

All devices work at once, by the same seam that scoring uses. The arithmetic of an evaluation is that of the network's
products alone, without what depends on the noise time: as the network is written, and as far as it is done, for the
code for CPUs (``scoread_jax/native/``) convolves with fewer products. Traffic is what XLA counts for the
compiled network, cached or not; of the code for CPUs, what each call reads and writes. Three minutes on two CPU cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from scoread_jax import config, detect, noise, parallel
from scoread_jax.model import Model, build
from scoread_jax.network import Variables

BANDS, PIXELS, K, T = 175, 8000, 100, 0.05


def main() -> None:
    chosen = timing.options(__doc__)
    devices = len(parallel.placement().devices)
    accelerator = jax.default_backend() != "cpu"
    sizes = (256, 512) if chosen.quick else (256, 512, 1024, 2048) + ((4096, 8192) if accelerator else ())
    elements = (1 << 20) if chosen.quick else (1 << (28 if accelerator else 25))
    pixels = 40 * devices if chosen.quick else PIXELS
    works: dict[str, Any] = {f"matmul {n}": matmul(n, devices, repeats(n)) for n in sizes}
    works |= {"copy": copy(elements, devices), "score": score(pixels)}
    taken = timing.interleaved(works, chosen.rounds)

    rates = {n: devices * repeats(n) * 2 * n**3 / taken[f"matmul {n}"]["median"] for n in sizes}
    best, bandwidth = max(rates.values()), devices * _COPIES * 8 * elements / taken["copy"]["median"]
    flops, done, traffic = evaluation()
    each = taken["score"]["median"] / (pixels * K)
    result = {
        "devices": devices,
        "matmul_flops_per_second": rates,
        "bandwidth_bytes_per_second": bandwidth,
        "evaluation_flops": flops,
        "evaluation_flops_done": done,
        "evaluation_bytes": traffic,
        "evaluation_seconds": each,
        "scene_seconds": taken["score"],
        "share_of_matmul_rate": flops / each / best,
        "share_of_matmul_rate_done": done / each / best,
        "share_of_bandwidth": traffic / each / bandwidth,
    }
    print(f"best matmul rate {best / 1e9:.0f} GFLOP/s, bandwidth {bandwidth / 1e9:.1f} GB/s on {devices} device(s)")
    shares = [round(100 * result[f"share_of_{what}"]) for what in ("matmul_rate", "matmul_rate_done", "bandwidth")]
    told = f"{shares[0]} % of the matmul rate ({shares[1]} % by the products done), {shares[2]} % of the bandwidth"
    print(f"evaluation {each * 1e6:.2f} µs: {told}")
    timing.write("roofline", chosen, result)


_COPIES = 8


def repeats(n: int) -> int:
    """Products in a row, so that a call takes long enough to be timed."""
    return max(1, (1 << 31) // n**3)


def matmul(n: int, devices: int, count: int) -> Any:
    """``count`` products of n × n matrices in a row, on each device."""
    return functools.partial(parallel.map_pixels, _powers(count), jnp.eye(n), jnp.ones((devices, n, n)))


@functools.cache
def _powers(count: int) -> parallel.PixelFunction:
    def powers(factor: jax.Array, starts: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return jax.lax.map(lambda x: jax.lax.fori_loop(0, count, lambda _, x: x @ factor, x), starts)

    return powers


def copy(elements: int, devices: int) -> Any:
    """Read and write an array of so many numbers on each device, a few times."""
    return functools.partial(parallel.map_pixels, _scale, jnp.float32(0.999), jnp.ones((devices, elements)))


def _scale(factor: jax.Array, arrays: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, _COPIES, lambda _, x: x * factor, arrays)


def published(native: bool = True) -> tuple[Model, Variables]:
    """The published network with made parameters, as scenes are scored with it, or by XLA alone."""
    model = build(config.load("scoread-hydice"), BANDS, native=native and parallel.on_cpu())
    return model, model.network.init(jax.random.key(0))


def score(
    pixels: int,
    perturbations: int = K,
    times: tuple[float, ...] = (T,),
    estimator: str = "reference",
    spread: Callable[..., Any] = parallel.map_pixels,
    native: bool = True,
) -> Any:
    """Score made spectra with the published network."""
    model, variables = published(native)
    spectra = jax.random.uniform(jax.random.key(1), (pixels, BANDS))
    return lambda: detect.pixel_scores(
        jax.random.key(0), variables, spectra, jnp.arange(pixels), None, jnp.asarray(times),
        sde=model.sde, score=model.score, forward=model.forward, statistic=model.statistic,
        perturbations=perturbations, estimator=noise.ESTIMATORS[estimator], at_time=model.network.at_time,
        chunk=detect.chunk_size(pixels, perturbations, model.network.evaluation_bytes), spread=spread,
    )  # fmt: skip


def evaluation() -> tuple[float, float, float]:
    """Arithmetic of one evaluation as written and as done, and the bytes that it moves."""
    model, variables = published()
    rows = detect.chunk_size(PIXELS, K, model.network.evaluation_bytes).copies
    known = variables | model.network.at_time(variables, jnp.float32(T))
    hidden = variables["params"]["fc1_bias"].shape[0]
    lengths = {"conv2": hidden // 2, "conv3": hidden // 4, "conv4": hidden // 8}
    lengths |= {"tconv4": hidden // 8, "tconv3": hidden // 4, "tconv2": hidden // 2, "fc1": 1, "out": 1}
    products = {name: 2 * length * variables["params"][f"{name}_kernel"].size for name, length in lengths.items()}
    fewer = {"conv3", "conv4", "tconv4", "tconv3"} if "native" in known else set()
    done = sum(count * 11 / 20 if name in fewer else count for name, count in products.items())
    if "native" in known:
        traffic = sum(array.nbytes for array in known["native"]) + 2 * rows * BANDS * 4
    else:
        batch = jax.vmap(model.network.apply, in_axes=(None, 0, None, None))
        compiled = jax.jit(batch).lower(known, jnp.ones((rows, BANDS)), jnp.float32(T), None).compile()
        cost: Any = compiled.cost_analysis()
        traffic = cost["bytes accessed"]
    return float(sum(products.values())), float(done), float(traffic) / rows


if __name__ == "__main__":
    main()
