"""Ways to write each layer of the published network: one product, or XLA's convolution; forward and with gradients.

    python -m benchmarks.lowerings [--device cpu|gpu|tpu] [--rounds 5] [--quick]

Each is taken inside a compiled loop, as in training and scoring, on as many spectra as scoring has in flight. What the
network uses is marked *. Four minutes on two CPU cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import timing
from scoread_jax.network import layers

ROWS, LOOP = 25, 40
CONVOLUTIONS = (("conv2", 256, 1, 16), ("conv3", 128, 16, 32), ("conv4", 64, 32, 64))
TRANSPOSED = (("tconv4", 32, 64, 32), ("tconv3", 64, 64, 16), ("tconv2", 128, 32, 1))
NORMS = (("norm2", 128, 16), ("norm3", 64, 32), ("norm4", 32, 64))
Layer = Callable[[jax.Array, Any], jax.Array]


class Case(NamedTuple):
    """One way to write one layer: what it is called, how, whether the network uses it, on what."""

    layer: str
    way: str
    used: bool
    function: Layer
    x: tuple[int, ...]
    params: Any


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    rows, loop = (4, 2) if chosen.quick else (ROWS, LOOP)
    cases = [*convolutions(), *norms()]
    works = {
        f"{case.layer} {case.way} {kind}": repeated(case, rows, loop, gradients=kind == "gradients")
        for case in (cases[::4] if chosen.quick else cases)
        for kind in ("forward", "gradients")
    }
    taken = timing.interleaved(works, chosen.rounds)
    table = []
    for case in cases:
        for kind in ("forward", "gradients"):
            name = f"{case.layer} {case.way} {kind}"
            if name not in taken:
                continue
            each = {figure: value / (rows * loop) for figure, value in taken[name].items()}
            table.append({"layer": case.layer, "way": case.way, "used": case.used, "kind": kind, "seconds": each})
            print(f"{case.layer:7s} {case.way:22s}{'*' if case.used else ' '} {kind:9s} {1e6 * each['median']:8.2f} µs")
    timing.write("lowerings", chosen, {"rows_in_flight": rows, "table": table})


def convolutions() -> list[Case]:
    """The convolutions: as products with one or several outputs a row, and by XLA."""
    cases = []
    for layer, length, channels, out in CONVOLUTIONS:
        kernel, shape = jnp.full((layers.TAPS, channels, out), 0.1), (length, channels)
        for block in (1, 4, 8) if channels == 1 else (1, 2):
            used = block == max(1, 4 // channels)
            way = functools.partial(layers.strided_conv, block=block)
            cases.append(Case(layer, f"product, {block} a row", used, way, shape, kernel))
        cases.append(Case(layer, "lax.conv", False, lax_strided, shape, kernel))
    for layer, length, channels, out in TRANSPOSED:
        kernel, shape = jnp.full((layers.TAPS, channels, out), 0.1), (length, channels)
        cases.append(Case(layer, "product", True, layers.transposed_conv, shape, kernel))
        cases.append(Case(layer, "lax.conv", False, lax_transposed, shape, kernel))
    return cases


def norms() -> list[Case]:
    """The group norms: in one pass with a factor for each channel, and as they are defined."""
    cases = []
    for layer, length, channels in NORMS:
        params = jnp.linspace(0.5, 1.5, 3 * channels).reshape(3, channels)
        cases.append(Case(layer, "one pass", True, one_pass_norm, (length, channels), params))
        cases.append(Case(layer, "two passes", False, two_pass_norm, (length, channels), params))
    return cases


def lax_strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``layers.strided_conv`` by XLA."""
    order = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(x[None], kernel, (2,), [(2, 2)], dimension_numbers=order)[0]


def lax_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``layers.transposed_conv`` by XLA."""
    order = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(
        x[None], kernel[::-1], (1,), [(2, 3)], lhs_dilation=(2,), dimension_numbers=order
    )[0]


def one_pass_norm(x: jax.Array, params: jax.Array) -> jax.Array:
    """The network's, with swish."""
    return jax.nn.swish(layers.biased_group_norm(x, params[0], params[1], params[2], x.shape[1] // 4))


def two_pass_norm(x: jax.Array, params: jax.Array) -> jax.Array:
    """By its definition, with swish."""
    length, channels = x.shape
    grouped = (x + params[0][None]).reshape(length, channels // 4, 4)
    centred = grouped - jnp.mean(grouped, axis=(0, 2), keepdims=True)
    scaled = centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=(0, 2), keepdims=True) + 1e-5)
    return jax.nn.swish(scaled.reshape(length, channels) * params[1][None] + params[2][None])


def repeated(case: Case, rows: int, loop: int, *, gradients: bool) -> Any:
    """A layer on ``rows`` spectra, ``loop`` times in a compiled loop in which nothing can be left out."""
    x = jax.random.normal(jax.random.key(0), (rows, *case.x))
    batch = jax.vmap(case.function, in_axes=(0, None))

    def total(x: jax.Array, params: Any) -> jax.Array:
        return jnp.sum(batch(x, params) ** 2)

    @jax.jit
    def run(x: jax.Array, params: Any) -> jax.Array:
        def body(_: int, carry: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
            x, params = carry
            if not gradients:
                return x * (1 + 1e-12 * total(x, params)), params
            by_x, by_params = jax.grad(total, argnums=(0, 1))(x, params)
            return x - 1e-9 * by_x, params - 1e-9 * by_params

        return jax.lax.fori_loop(0, loop, body, (x, params))[0]

    return functools.partial(run, x, case.params)


if __name__ == "__main__":
    main()
