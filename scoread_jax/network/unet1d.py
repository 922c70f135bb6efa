"""ScoreAD's published network: a small 1-D U-Net between two dense layers (arXiv 2601.12379).

The variant is the one behind the authors' released weights: feature-wise modulation by the spatial condition after
the first norm only, and no modulation at all without a condition. Parameters start from PyTorch's default
distributions, so training from scratch starts where the authors' does.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from scoread_jax.context import nearest_condition
from scoread_jax.errors import ConfigError
from scoread_jax.network import Native, Network
from scoread_jax.network.initial import declared_gain, declared_uniform, of_time, pure
from scoread_jax.network.layers import (
    TAPS,
    biased_group_norm,
    film,
    fourier_features,
    layer_norm,
    product,
    strided_conv,
    transposed_conv,
)

_GROUP_WIDTH = 4
_FREQUENCY_SCALE = 10.0

# Outputs of a convolution of one channel that are computed in one row. Divides hidden / 2.
_WINDOW = 4


@functools.cache
def unet1d(
    bands: int, *, conditional: bool = False, hidden: int = 256, channels: int = 16, embedding: int = 256
) -> Network:
    """The published network as a pair of pure functions.

    Args:
        bands: length of a spectrum.
        conditional: whether ``apply`` is given a ring of neighbours [ring, bands].
        hidden: width of the dense layers, the length the U-Net works on; a multiple of 8.
        channels: channels of the first convolution, a multiple of 4; the next have two and four times as many.
        embedding: width of the time embedding, even.

    Returns:
        ``apply(variables, x [bands], t [], context) -> [bands]``; divided by the kernel's standard deviation the
        output is the score.

    Raises:
        ConfigError: for sizes that do not fit together.
    """
    if (
        bands < 1
        or hidden < 8
        or hidden % 8
        or channels < 4
        or channels % _GROUP_WIDTH
        or embedding < 2
        or embedding % 2
    ):
        raise ConfigError(
            "the network needs hidden divisible by 8, channels divisible by 4 and an even embedding, "
            f"found hidden = {hidden}, channels = {channels}, embedding = {embedding}"
        )
    module = UNet1D(bands, conditional, hidden, channels, embedding)
    # The U-Net's arrays hold hidden × channels numbers or a few times as many.
    network = pure(
        module,
        bands,
        conditional=conditional,
        frequency_scale=_FREQUENCY_SCALE,
        evaluation_bytes=10 * hidden * channels,
    )

    def compiled() -> Native | None:
        from scoread_jax.native.unet1d import unet1d

        return unet1d(network, bands, hidden, channels)

    return network._replace(native=compiled)


class UNet1D(nn.Module):
    """Declares the parameters and wires the layers; see ``unet1d`` for sizes and shapes."""

    bands: int
    conditional: bool
    hidden: int
    channels: int
    embedding: int

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
        """Output [bands] for a spectrum ``x`` [bands] at time ``t`` []."""
        e = self._keep("embed", self._time_embedding(t))

        h = self._dense("fc1", x, self.hidden) + self._of_time("dense1", e, self.hidden)
        h = layer_norm(h, *self._gain_and_bias("norm1", self.hidden))
        if self.conditional:
            h = film(h, self._dense("film1", nearest_condition(x, context), 2 * self.hidden))
        h1 = self._keep("h1", nn.swish(h))

        c = self.channels
        h2 = self._down("2", h1[:, None], e, c)
        h3 = self._down("3", h2, e, 2 * c)
        h4 = self._down("4", h3, e, 4 * c)
        u4 = self._up("4", h4, e, 2 * c)
        u3 = self._up("3", jnp.concatenate([u4, h3], axis=1), e, c)
        u2 = transposed_conv(jnp.concatenate([u3, h2], axis=1), self._kernel("tconv2", 2 * c, 1, fan_in=1))
        u2 = self._keep("u2", u2[:, 0] + self.param("tconv2_bias", _uniform(TAPS), (1,), jnp.float32))
        return self._dense("out", jnp.concatenate([u2, h1]), self.bands)

    def _time_embedding(self, t: jax.Array) -> jax.Array:
        count = self.embedding // 2
        frequencies = self.variable("constants", "frequencies", jnp.zeros, (count,))
        return nn.swish(self._dense("embed", fourier_features(t, frequencies.value), self.embedding))

    def _down(self, level: str, x: jax.Array, e: jax.Array, out: int) -> jax.Array:
        kernel = self._kernel(f"conv{level}", x.shape[1], out, fan_in=x.shape[1])
        y = strided_conv(x, kernel, block=max(1, _WINDOW // x.shape[1]))
        return self._keep(f"h{level}", self._norm_and_swish(f"dense{level}", f"norm{level}", y, e))

    def _up(self, level: str, x: jax.Array, e: jax.Array, out: int) -> jax.Array:
        # PyTorch counts a transposed convolution's fan-in over its outputs.
        y = transposed_conv(x, self._kernel(f"tconv{level}", x.shape[1], out, fan_in=out))
        return self._keep(f"u{level}", self._norm_and_swish(f"tdense{level}", f"tnorm{level}", y, e))

    def _norm_and_swish(self, dense: str, norm: str, x: jax.Array, e: jax.Array) -> jax.Array:
        channels = x.shape[1]
        shift = self._of_time(dense, e, channels)
        gain, bias = self._gain_and_bias(norm, channels)
        return nn.swish(biased_group_norm(x, shift, gain, bias, groups=channels // _GROUP_WIDTH))

    def _of_time(self, name: str, e: jax.Array, out: int) -> jax.Array:
        return of_time(self, name, lambda: self._dense(name, e, out))

    def _dense(self, name: str, x: jax.Array, out: int) -> jax.Array:
        fan_in = x.shape[0]
        kernel = self.param(f"{name}_kernel", _uniform(fan_in), (fan_in, out), jnp.float32)
        return product(x, kernel) + self.param(f"{name}_bias", _uniform(fan_in), (out,), jnp.float32)

    def _kernel(self, name: str, channels: int, out: int, *, fan_in: int) -> jax.Array:
        return self.param(f"{name}_kernel", _uniform(TAPS * fan_in), (TAPS, channels, out), jnp.float32)

    def _gain_and_bias(self, name: str, features: int) -> tuple[jax.Array, jax.Array]:
        gain = self.param(f"{name}_gain", declared_gain, (features,), jnp.float32)
        return gain, self.param(f"{name}_bias", nn.initializers.zeros, (features,), jnp.float32)

    def _keep(self, name: str, value: jax.Array) -> jax.Array:
        """Let tests see a block's activations (``mutable=["intermediates"]``); free otherwise."""
        self.sow("intermediates", name, value)
        return value


def _uniform(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for weights and biases is uniform within ``± 1/√fan_in``."""
    return declared_uniform(fan_in**-0.5)
