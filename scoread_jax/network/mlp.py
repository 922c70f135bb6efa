"""A residual MLP: a tenth of the published network's work, for spectra in few coordinates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from scoread_jax.context import nearest_condition
from scoread_jax.errors import ConfigError
from scoread_jax.network import Native, Network
from scoread_jax.network.initial import declared_gain, declared_uniform, of_time, pure
from scoread_jax.network.layers import fourier_features, layer_norm, product

_FREQUENCY_SCALE = 0.25
_SMALL = 0.1
_MODERATE = 0.3


@functools.cache
def mlp(bands: int, *, conditional: bool = False, hidden: int = 128, blocks: int = 3, embedding: int = 64) -> Network:
    """Pre-norm residual blocks (layer norm, dense + time, swish, dense) between two dense layers.

    Args:
        bands: length of a spectrum, or number of coordinates.
        conditional: whether ``apply`` is given a ring of neighbours; its nearest then joins the input.
        hidden: width.
        blocks: number of residual blocks.
        embedding: Fourier features of the logarithm of time, even.

    Returns:
        ``apply(variables, x [bands], t [], context) -> [bands]``.

    Raises:
        ConfigError: for sizes that do not fit together.
    """
    if bands < 1 or hidden < 1 or blocks < 1 or embedding < 2 or embedding % 2:
        raise ConfigError(
            "the network needs hidden and blocks of at least 1 and an even embedding, "
            f"found hidden = {hidden}, blocks = {blocks}, embedding = {embedding}"
        )

    def by(trunk: Trunk) -> Network:
        return pure(
            MLP(bands, conditional, hidden, blocks, embedding, trunk),
            bands,
            conditional=conditional,
            frequency_scale=_FREQUENCY_SCALE,
            evaluation_bytes=4 * hidden * (2 * blocks + 2),
        )

    @functools.cache  # the same functions each time, or what uses them is compiled again
    def compiled() -> Native | None:
        from scoread_jax.native import mlp as native

        trunk = native.trunk(hidden, blocks)
        return None if trunk is None else Native(network, by(trunk))

    network = by(residual_blocks)._replace(native=compiled)
    return network


class Block(NamedTuple):
    """Parameters of a residual block: a norm's, and those of two dense layers; kernels are [hidden, hidden]."""

    gain: jax.Array
    bias: jax.Array
    first: jax.Array
    first_bias: jax.Array
    second: jax.Array
    second_bias: jax.Array


Trunk = Callable[[Sequence[Block], Sequence[jax.Array], jax.Array], jax.Array]
"""``(blocks, what the time adds in each [hidden], h [hidden]) -> [hidden]``."""


def residual_blocks(blocks: Sequence[Block], shifts: Sequence[jax.Array], h: jax.Array) -> jax.Array:
    """What lies between the first and the last dense layer."""
    for block, shift in zip(blocks, shifts, strict=True):
        u = product(layer_norm(h, block.gain, block.bias), block.first) + block.first_bias
        h = h + (product(nn.swish(u + shift), block.second) + block.second_bias)
    return nn.swish(h)


class MLP(nn.Module):
    """Declares the parameters and wires the layers; see ``mlp`` for sizes and shapes."""

    bands: int
    conditional: bool
    hidden: int
    blocks: int
    embedding: int
    trunk: Trunk = residual_blocks

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        """Output [bands] for a spectrum ``x`` [bands] at time ``t`` []."""
        frequencies = self.variable("constants", "frequencies", jnp.zeros, (self.embedding // 2,))
        features = fourier_features(jnp.log(t), frequencies.value)
        e = nn.swish(self._dense("time2", nn.swish(self._dense("time1", features, self.hidden)), self.hidden))
        if self.conditional:
            x = jnp.concatenate([x, nearest_condition(x, context)])
        h = self._dense("in", x, self.hidden)
        blocks, shifts = [], []
        for block in range(self.blocks):
            gain = self.param(f"norm{block}_gain", declared_gain, (self.hidden,), jnp.float32)
            bias = self.param(f"norm{block}_bias", nn.initializers.zeros, (self.hidden,), jnp.float32)
            first = self._layer(f"first{block}", self.hidden, self.hidden)
            shifts.append(
                of_time(self, f"shift{block}", lambda name=f"shift{block}": self._dense(name, e, self.hidden))
            )
            second = self._layer(f"second{block}", self.hidden, self.hidden, _MODERATE)
            blocks.append(Block(gain, bias, *first, *second))
        return self._dense("out", self.trunk(blocks, shifts, h), self.bands, _SMALL)

    def _dense(self, name: str, x: jax.Array, out: int, scale: float = 1.0) -> jax.Array:
        kernel, bias = self._layer(name, x.shape[0], out, scale)
        return product(x, kernel) + bias

    def _layer(self, name: str, count: int, out: int, scale: float = 1.0) -> tuple[jax.Array, jax.Array]:
        """A dense layer whose output starts with ``scale`` times the standard deviation of its input."""
        kernel = self.param(f"{name}_kernel", declared_uniform(scale * (3 / count) ** 0.5), (count, out), jnp.float32)
        return kernel, self.param(f"{name}_bias", nn.initializers.zeros, (out,), jnp.float32)
