"""The published network by ``unet1d.c``: whole, for scoring; its convolutions, for training."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import ArrayMapping, SdyShardingRule, custom_partitioning

from scoread_jax.context import nearest_condition
from scoread_jax.network import Native, Network, Variables
from scoread_jax.network.layers import film, layer_norm, product
from scoread_jax.network.native.library import NotCompiledError, target

# Columns of the last product: a multiple of the longest vectors.
_PADDED = 16

# Convolutions in the order that the source reads them in, and what their norms are called.
_KERNELS = ("conv2", "conv3", "conv4", "tconv4", "tconv3", "tconv2")
_NORMS = (("dense2", "norm2"), ("dense3", "norm3"), ("dense4", "norm4"), ("tdense4", "tnorm4"), ("tdense3", "tnorm3"))


@functools.cache
def unet1d(network: Network, bands: int, hidden: int, channels: int) -> Native | None:
    """The same network, compiled for this processor: faster, for the CPU alone.

    Args:
        network: the published one, see ``network.unet1d``.
        bands: length of a spectrum.
        hidden: its width.
        channels: of its first convolution.

    Returns:
        Networks for scoring and for training; None where they cannot be had. Outputs differ from the other's by
        rounding.
    """
    if hidden % 256 or channels % 4:
        return None
    try:
        scoring = _scoring(network, _target("network", hidden, channels))
        training = _training(network, *(_target(name, hidden, channels) for name in ("stack", "stack_gradient")))
    except NotCompiledError:
        return None
    # Noise, copies, outputs and their directions; the layers need nothing outside of the caches.
    return Native(scoring._replace(evaluation_bytes=24 * bands), training)


def why_not() -> str | None:
    """Why the published network cannot be compiled here, in a few words; None where it can."""
    try:
        _target("network", 256, 16)
    except NotCompiledError as reason:
        return str(reason)
    return None


def _target(function: str, hidden: int, channels: int) -> str:
    return target("unet1d", function, (("CHANNELS", channels), ("HIDDEN", hidden)))


def _scoring(network: Network, known_as: str) -> Network:
    whole = _whole(known_as)

    def at_time(variables: Variables, t: jax.Array) -> Variables:
        known = network.at_time(variables, t)
        return known | {"native": _laid_out(variables["params"], known["at_time"])}

    def apply(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        del t
        modulation = _modulation(variables["params"], x, context)
        return whole(*variables["native"], x[None], *(() if modulation is None else (modulation[None],)))[0]

    return network._replace(apply=apply, at_time=at_time)


def _training(network: Network, known_as: str, gradient_known_as: str) -> Network:
    stack = _stack(known_as, gradient_known_as)

    def apply(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        params = variables["params"]
        known = (variables if "at_time" in variables else network.at_time(variables, t))["at_time"]
        h = product(x, params["fc1_kernel"]) + params["fc1_bias"] + known["dense1"]
        h = layer_norm(h, params["norm1_gain"], params["norm1_bias"])
        modulation = _modulation(params, x, context)
        h1 = nn.swish(h if modulation is None else film(h, modulation))
        shift, gain, bias = _laws(params, known)
        u2 = stack(_kernels(params), gain, bias, shift[None], h1[None])[0]
        return product(jnp.concatenate([u2, h1]), params["out_kernel"]) + params["out_bias"]

    return network._replace(apply=apply)


def _modulation(params: Variables, x: jax.Array, context: jax.Array | None) -> jax.Array | None:
    if "film1_kernel" not in params:
        return None
    return product(nearest_condition(x, context), params["film1_kernel"]) + params["film1_bias"]


def _kernels(params: Variables) -> jax.Array:
    flat = [params[f"{name}_kernel"].reshape(-1) for name in _KERNELS]
    return jnp.concatenate([*flat, params["tconv2_bias"]])


def _laws(params: Variables, known: Variables) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What is added before each norm, and its gain and bias, of all layers."""
    return (
        jnp.concatenate([known[dense] for dense, _ in _NORMS]),
        jnp.concatenate([params[f"{norm}_gain"] for _, norm in _NORMS]),
        jnp.concatenate([params[f"{norm}_bias"] for _, norm in _NORMS]),
    )


_LAID_OUT = 6


def _laid_out(params: Variables, known: Variables) -> tuple[jax.Array, ...]:
    """All that ``network`` reads but the spectra."""
    fill = -params["out_bias"].shape[0] % _PADDED
    return (
        params["fc1_kernel"],
        jnp.stack([params["fc1_bias"] + known["dense1"], params["norm1_gain"], params["norm1_bias"]]),
        _kernels(params),
        jnp.stack(_laws(params, known)),
        jnp.pad(params["out_kernel"], ((0, 0), (0, fill))),
        jnp.pad(params["out_bias"], (0, fill)),
    )


@functools.cache
def _whole(known_as: str) -> Any:
    """``(what is laid out …, x [n, bands], modulation [n, 2 · hidden] or nothing) -> [n, bands]``."""

    def call(*given: jax.Array) -> jax.Array:
        x = given[_LAID_OUT]
        return jax.ffi.ffi_call(known_as, jax.ShapeDtypeStruct(x.shape, x.dtype))(*given)

    # Spectra spread over devices stay where they are; XLA's partitioner would gather them all on each.
    spread = custom_partitioning(call)
    spread.def_partition(
        partition=functools.partial(_parts, call),
        infer_sharding_from_operands=lambda mesh, arguments, result: arguments[_LAID_OUT].sharding,
        sharding_rule=_rule,
    )

    @custom_vmap
    def whole(*given: jax.Array) -> jax.Array:
        return spread(*given)

    @whole.def_vmap
    def more(size: int, batched: list[bool], *given: jax.Array) -> tuple[jax.Array, bool]:
        if any(batched[:_LAID_OUT]):  # several networks, one after the other
            axes = [array for array, many in zip(given, batched, strict=True) if many]

            def one(parts: list[jax.Array]) -> jax.Array:
                left = iter(parts)
                return whole(*(next(left) if many else array for array, many in zip(given, batched, strict=True)))

            return jax.lax.map(one, axes), True
        each = _all_batched(size, batched[_LAID_OUT:], given[_LAID_OUT:])
        return whole(*given[:_LAID_OUT], *map(_merged, each)).reshape(each[0].shape), True

    return whole


@functools.cache
def _stack(known_as: str, gradient_known_as: str) -> Any:
    """``(kernels, gains, biases, shifts [n, 10 · channels], h1 [n, hidden]) -> u2 [n, hidden]``, with a gradient."""

    def shapes(*arrays: jax.Array) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]

    @jax.custom_vjp
    def stack(*given: jax.Array) -> jax.Array:
        return jax.ffi.ffi_call(known_as, *shapes(given[-1]), vmap_method="sequential")(*given)

    def back(given: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array, ...]:
        made = jax.ffi.ffi_call(gradient_known_as, shapes(*given), vmap_method="sequential")(*given, gradient)
        return tuple(made)

    stack.defvjp(lambda *given: (stack(*given), given), back)

    @custom_vmap
    def merged(*given: jax.Array) -> jax.Array:
        return stack(*given)

    @merged.def_vmap
    def more(size: int, batched: list[bool], *given: jax.Array) -> tuple[jax.Array, bool]:
        if any(batched[:3]):
            axes = [0 if many else None for many in batched]
            return jax.vmap(stack, axes)(*given), True
        each = _all_batched(size, batched[3:], given[3:])
        return stack(*given[:3], *map(_merged, each)).reshape(each[1].shape), True

    return merged


def _all_batched(size: int, batched: list[bool], given: tuple[jax.Array, ...]) -> list[jax.Array]:
    return [
        array if many else jnp.broadcast_to(array, (size, *array.shape))
        for array, many in zip(given, batched, strict=True)
    ]


def _merged(array: jax.Array) -> jax.Array:
    """[size, n, …] as [size · n, …]."""
    return array.reshape(-1, array.shape[-1])


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
