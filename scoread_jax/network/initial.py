"""A flax module as a pair of pure functions, with its initial parameters from one random draw.

Each module declares its parameters with the half-width of the uniform law that they start from (gains, whose names
end in ``_gain``, start from one). A draw for each parameter would take half a minute to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from scoread_jax.network import Network, Variables


def declared_uniform(half_width: float) -> nn.initializers.Initializer:
    """Declare a parameter that starts uniform within ``± half_width``."""
    return nn.initializers.constant(half_width)


declared_gain = nn.initializers.zeros
"""Declare a parameter that starts at one."""


def pure(module: nn.Module, bands: int, *, conditional: bool, frequency_scale: float, evaluation_bytes: int) -> Network:
    """The functions of a module that is called with a spectrum, a time and a context.

    Args:
        module: with parameters as declared here, and one constant, the Fourier ``frequencies`` of its time.
        bands: length of a spectrum.
        conditional: whether it is given a ring of neighbours.
        frequency_scale: standard deviation of the frequencies, which are drawn normal and never trained.
        evaluation_bytes: see ``Network``.
    """

    @jax.jit
    def init(key: jax.Array) -> Variables:
        context = jnp.zeros((1, bands)) if conditional else None
        declared: Any = module.init(jax.random.key(0), jnp.zeros(bands), jnp.ones(()), context)
        params_key, constants_key = jax.random.split(key)
        widths, unravel = ravel_pytree(declared["params"])
        params = unravel(widths * jax.random.uniform(params_key, widths.shape, minval=-1.0))
        params = {name: jnp.ones_like(leaf) if name.endswith("_gain") else leaf for name, leaf in params.items()}
        frequencies = jax.random.normal(constants_key, declared["constants"]["frequencies"].shape)
        return {"params": params, "constants": {"frequencies": frequency_scale * frequencies}}

    def apply(variables: Variables, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        return module.apply(variables, x, t, context)  # pyright: ignore[reportReturnType]

    def at_time(variables: Variables, t: jax.Array) -> Variables:
        x, context = jnp.zeros(bands), jnp.zeros((1, bands)) if conditional else None
        _, found = module.apply(variables, x, t, context, mutable=["at_time"])
        return found  # pyright: ignore[reportReturnType]

    return Network(init, apply, evaluation_bytes, at_time)


def of_time(module: nn.Module, name: str, compute: Callable[[], jax.Array]) -> jax.Array:
    """A value that depends on the time alone: as ``at_time`` found it, or computed where it was not asked."""
    if module.has_variable("at_time", name):
        return module.get_variable("at_time", name)
    value = compute()
    if module.is_mutable_collection("at_time"):
        module.put_variable("at_time", name, value)
    return value
