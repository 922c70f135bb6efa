"""The published network forward, by ``unet1d.c``."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import ArrayMapping, SdyShardingRule, custom_partitioning

from scoread_jax.context import nearest_condition
from scoread_jax.native.library import NotCompiledError, target
from scoread_jax.network import Network, Variables
from scoread_jax.network.layers import product

# Columns of the last product: a multiple of twice the longest vectors.
_PADDED = 32

# Winograd's F(4, 3): values at the points 0, 1, -1, 2, -2, ∞ of a polynomial whose coefficients are three taps, with
# the factors of the interpolation (Lavin & Gray 2016, arXiv 1509.09308, § 4.3).
_POINTS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)


@functools.cache
def unet1d(network: Network, bands: int, hidden: int, channels: int) -> Network | None:
    """The same network, compiled for this processor: faster, without derivatives, for the CPU alone.

    Args:
        network: the published one, see ``network.unet1d``.
        bands: length of a spectrum.
        hidden: its width.
        channels: of its first convolution.

    Returns:
        The network, whose ``apply`` needs what its ``at_time`` returns; None where it cannot be had. Outputs differ
        from the other's by rounding.
    """
    if hidden % 256 or channels % 4:
        return None
    try:
        forward = _forward(_compiled(hidden, channels))
    except NotCompiledError:
        return None

    def at_time(variables: Variables, t: jax.Array) -> Variables:
        known = network.at_time(variables, t)
        return known | {"native": _laid_out(variables["params"], known["at_time"])}

    def apply(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        del t
        modulation = ()
        if context is not None:
            params = variables["params"]
            condition = product(nearest_condition(x, context), params["film1_kernel"]) + params["film1_bias"]
            modulation = (condition[None],)
        return forward(*variables["native"], x[None], *modulation)[0]

    # Noise, copies, outputs and their directions; the layers need nothing outside of the first-level cache.
    return network._replace(apply=apply, at_time=at_time, evaluation_bytes=24 * bands)


def why_not() -> str | None:
    """Why the published network cannot be compiled here, in a few words; None where it can."""
    try:
        _compiled(256, 16)
    except NotCompiledError as reason:
        return str(reason)
    return None


def _compiled(hidden: int, channels: int) -> str:
    return target("unet1d", (("CHANNELS", channels), ("HIDDEN", hidden)))


@functools.cache
def _forward(known_as: str) -> Any:
    """``(what is laid out …, x [n, bands], modulation [n, 2 · hidden] or nothing) -> [n, bands]``."""

    def call(*given: jax.Array) -> jax.Array:
        x = given[_LAID_OUT]
        return jax.ffi.ffi_call(known_as, jax.ShapeDtypeStruct(x.shape, x.dtype))(*given)

    # Spectra spread over devices stay where they are; XLA's partitioner would gather them all on each.
    spread = custom_partitioning(call)
    spread.def_partition(partition=functools.partial(_parts, call), sharding_rule=_rule)

    @custom_vmap
    def forward(*given: jax.Array) -> jax.Array:
        return spread(*given)

    @forward.def_vmap
    def more(size: int, batched: list[bool], *given: jax.Array) -> tuple[jax.Array, bool]:
        if any(batched[:_LAID_OUT]):  # several networks, one after the other
            axes = [array for array, many in zip(given, batched, strict=True) if many]

            def one(parts: list[jax.Array]) -> jax.Array:
                left = iter(parts)
                return forward(*(next(left) if many else array for array, many in zip(given, batched, strict=True)))

            return jax.lax.map(one, axes), True
        each = [
            array if many else jnp.broadcast_to(array, (size, *array.shape))
            for array, many in zip(given[_LAID_OUT:], batched[_LAID_OUT:], strict=True)
        ]
        together = [array.reshape(-1, array.shape[-1]) for array in each]
        return forward(*given[:_LAID_OUT], *together).reshape(each[0].shape), True

    return forward


def _parts(call: Any, mesh: Any, arguments: Any, result: Any) -> Any:
    return mesh, call, result.sharding, tuple(argument.sharding for argument in arguments)


def _rule(mesh: Any, arguments: Any, results: Any) -> SdyShardingRule:
    """Spectra may be cut; all else is needed whole."""
    del mesh, results
    factors = [[f"w{i}_{axis}" for axis in range(len(kind.shape))] for i, kind in enumerate(arguments)]
    for cut in factors[_LAID_OUT:]:
        cut[0] = "spectra"
    whole = dict.fromkeys(factor for one in factors for factor in one if factor != "spectra")
    return SdyShardingRule(
        tuple(ArrayMapping(*one) for one in factors),
        (ArrayMapping(*factors[_LAID_OUT]),),
        need_replication_factors=tuple(whole),
    )


_LAID_OUT = 16


def _laid_out(params: Variables, known: Variables) -> tuple[jax.Array, ...]:
    """Parameters in the order and the form that ``unet1d.c`` reads, those of a time among them."""

    def law(dense: str, norm: str) -> jax.Array:
        return jnp.stack([known[dense], params[f"{norm}_gain"], params[f"{norm}_bias"]])

    def strided(level: str) -> jax.Array:
        taps = params[f"conv{level}_kernel"]
        even, odd = jnp.stack([taps[0], taps[2], taps[4]]), jnp.stack([taps[1], taps[3], jnp.zeros_like(taps[0])])
        return jnp.concatenate([_at_points(even), _at_points(odd)], axis=1)

    def transposed(level: str) -> jax.Array:
        taps = params[f"tconv{level}_kernel"]
        even, odd = jnp.stack([taps[4], taps[2], taps[0]]), jnp.stack([jnp.zeros_like(taps[0]), taps[3], taps[1]])
        return jnp.concatenate([_at_points(even), _at_points(odd)], axis=2)

    fill = -params["out_bias"].shape[0] % _PADDED
    return (
        params["fc1_kernel"],
        law("dense1", "norm1").at[0].add(params["fc1_bias"]),
        params["conv2_kernel"][:, 0],
        law("dense2", "norm2"),
        strided("3"),
        law("dense3", "norm3"),
        strided("4"),
        law("dense4", "norm4"),
        transposed("4"),
        law("tdense4", "tnorm4"),
        transposed("3"),
        law("tdense3", "tnorm3"),
        params["tconv2_kernel"][:, :, 0],
        params["tconv2_bias"],
        jnp.pad(params["out_kernel"], ((0, 0), (0, fill))),
        jnp.pad(params["out_bias"], (0, fill)),
    )


def _at_points(taps: jax.Array) -> jax.Array:
    """Three taps [3, in, out] at the six points, [6, in, out]."""
    return jnp.einsum("pk,kio->pio", _POINTS, taps, precision=jax.lax.Precision.HIGHEST)
