"""The published network by ``unet1d.c``: whole, for scoring; its convolutions, for training."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from scoread_jax.context import nearest_condition
from scoread_jax.native.library import NotCompiledError, over_batch, over_pixels, target
from scoread_jax.network import Native, Network, Variables
from scoread_jax.network.layers import film, layer_norm, product

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


def _target(function: str, hidden: int, channels: int) -> str:
    return target("unet1d", function, (("CHANNELS", channels), ("HIDDEN", hidden)))


def _scoring(network: Network, known_as: str) -> Network:
    whole = over_pixels(known_as, _LAID_OUT, _of_spectra)

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


def _of_spectra(*given: jax.Array) -> tuple[int, ...]:
    return given[_LAID_OUT].shape[1:]


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

    return over_batch(stack, 3)
