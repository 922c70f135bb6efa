"""Initial parameters from one random draw.

Each module declares its parameters with the half-width of the uniform law that they start from (gains, whose names
end in ``_gain``, start from one). A draw for each parameter would take half a minute to compile.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from scoread_jax.network import Variables


def declared_uniform(half_width: float) -> nn.initializers.Initializer:
    """Declare a parameter that starts uniform within ``± half_width``."""
    return nn.initializers.constant(half_width)


declared_gain = nn.initializers.zeros
"""Declare a parameter that starts at one."""


def draw(key: jax.Array, declared: Any) -> Variables:
    """Parameters as declared, of the same names and shapes."""
    widths, unravel = ravel_pytree(declared)
    params = unravel(widths * jax.random.uniform(key, widths.shape, minval=-1.0))
    return {name: jnp.ones_like(leaf) if name.endswith("_gain") else leaf for name, leaf in params.items()}
