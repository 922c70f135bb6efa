"""A residual MLP: a tenth of the published network's work, for spectra in few coordinates."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from scoread_jax.context import nearest_condition
from scoread_jax.errors import ConfigError
from scoread_jax.network import Network
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
    module = MLP(bands, conditional, hidden, blocks, embedding)
    return pure(
        module,
        bands,
        conditional=conditional,
        frequency_scale=_FREQUENCY_SCALE,
        evaluation_bytes=4 * hidden * (2 * blocks + 2),
    )


class MLP(nn.Module):
    """Declares the parameters and wires the layers; see ``mlp`` for sizes and shapes."""

    bands: int
    conditional: bool
    hidden: int
    blocks: int
    embedding: int

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        """Output [bands] for a spectrum ``x`` [bands] at time ``t`` []."""
        frequencies = self.variable("constants", "frequencies", jnp.zeros, (self.embedding // 2,))
        features = fourier_features(jnp.log(t), frequencies.value)
        e = nn.swish(self._dense("time2", nn.swish(self._dense("time1", features, self.hidden)), self.hidden))
        if self.conditional:
            x = jnp.concatenate([x, nearest_condition(x, context)])
        h = self._dense("in", x, self.hidden)
        for block in range(self.blocks):
            gain = self.param(f"norm{block}_gain", declared_gain, (self.hidden,), jnp.float32)
            bias = self.param(f"norm{block}_bias", nn.initializers.zeros, (self.hidden,), jnp.float32)
            u = self._dense(f"first{block}", layer_norm(h, gain, bias), self.hidden)
            shift = of_time(self, f"shift{block}", lambda name=f"shift{block}": self._dense(name, e, self.hidden))
            u = nn.swish(u + shift)
            h = h + self._dense(f"second{block}", u, self.hidden, _MODERATE)
        return self._dense("out", nn.swish(h), self.bands, _SMALL)

    def _dense(self, name: str, x: jax.Array, out: int, scale: float = 1.0) -> jax.Array:
        """A dense layer whose output starts with ``scale`` times the standard deviation of its input."""
        kernel = self.param(
            f"{name}_kernel", declared_uniform(scale * (3 / x.shape[0]) ** 0.5), (x.shape[0], out), jnp.float32
        )
        return product(x, kernel) + self.param(f"{name}_bias", nn.initializers.zeros, (out,), jnp.float32)
