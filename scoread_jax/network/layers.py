"""The arithmetic of the networks, for one example: 1-D convolutions as matrix products, norms, embeddings.

Arrays are ``[length, channels]``. Convolutions are written as one matrix product over gathered neighbours, because
the derivatives of a ``lax.conv`` inside a compiled loop are tens of times slower on CPUs
(https://github.com/jax-ml/jax/issues/12868, https://github.com/jax-ml/jax/issues/31662).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

TAPS = 5
"""Kernel width of both convolutions."""

_EPSILON = 1e-5


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x · kernel`` in the numbers of the kernel, with float32 sums; see ``network.in_precision``.

    Args:
        x: [..., in].
        kernel: [in, out].

    Returns:
        float32 [..., out].
    """
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


def strided_conv(x: jax.Array, kernel: jax.Array, block: int = 1) -> jax.Array:
    """Convolution of width 5, stride 2, zero padding 2: ``y[i] = Σ_k x[2i + k − 2] · kernel[k]``.

    Args:
        x: [length, in], length a multiple of 2 · block.
        kernel: [5, in, out].
        block: neighbouring outputs that share one row of the product. The kernel is then a band in a matrix with zeros:
            more work, but fewer and longer rows, which pays where ``in`` is small.

    Returns:
        [length / 2, out].
    """
    length, channels = x.shape
    rows = x.reshape(length // (2 * block), 2 * block * channels)
    before, after = _shift_down(rows[:, -2 * channels :]), _shift_up(rows[:, :channels])
    # Turned behind a barrier: then its gradient is a product that is turned, which XLA:CPU takes less time for.
    matrix = jax.lax.optimization_barrier(_band(kernel, block).T).T
    return product(jnp.concatenate([before, rows, after], axis=1), matrix).reshape(length // 2, -1)


def transposed_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of width 5, stride 2, padding 2: ``y[j] = Σ_i x[i] · kernel[j − 2i + 2]``.

    Args:
        x: [length, in].
        kernel: [5, in, out].

    Returns:
        [2 · length, out].
    """
    _, channels, out = kernel.shape
    # One product for all taps, then shifts of the small results: the input is never copied. Turned behind a barrier as
    # in ``strided_conv``, and taken apart by a split, whose gradient joins the taps instead of adding them up.
    matrix = jax.lax.optimization_barrier(kernel.transpose(0, 2, 1).reshape(TAPS * out, channels)).T
    taps = jax.lax.split(product(x, matrix), (out,) * TAPS, axis=1)
    even = taps[2] + _shift_down(taps[4]) + _shift_up(taps[0])
    odd = taps[3] + _shift_up(taps[1])
    return jnp.stack([even, odd], axis=1).reshape(2 * len(x), -1)


def layer_norm(x: jax.Array, gain: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalise ``x`` [features] to mean 0 and variance 1, then ``gain · x + bias``."""
    centred = x - jnp.mean(x)
    return centred * (jax.lax.rsqrt(jnp.mean(centred**2) + _EPSILON) * gain) + bias


def biased_group_norm(x: jax.Array, shift: jax.Array, gain: jax.Array, bias: jax.Array, groups: int) -> jax.Array:
    """Group norm of ``x + shift``, in one pass over ``x`` for the moments and one for the result.

    Args:
        x: [length, channels].
        shift: added to each channel before the norm, [channels].
        gain: [channels].
        bias: [channels].
        groups: number of groups of neighbouring channels that share mean and variance; divides channels.

    Returns:
        [length, channels].
    """
    # The shift joins the moments per channel, so ``x + shift`` is never formed.
    first = jnp.mean(x, axis=0)
    second = jnp.mean(x * x, axis=0) + shift * (2 * first + shift)
    # A product averages over each group and gives the average back to its channels: with the moments in that shape,
    # what follows is one pass with a factor and an offset per channel, which vectorises.
    width = x.shape[1] // groups
    average = jnp.asarray(np.kron(np.eye(groups), np.full((width, width), 1 / width)), x.dtype)
    mean, square = jnp.matmul(jnp.stack([first + shift, second]), average, precision=jax.lax.Precision.HIGHEST)
    factor = gain * jax.lax.rsqrt(square - mean**2 + _EPSILON)
    return x * factor[None, :] + ((shift - mean) * factor + bias)[None, :]


def film(x: jax.Array, modulation: jax.Array) -> jax.Array:
    """Feature-wise modulation ``x · (1 + a) + b`` with ``modulation = [a, b]`` (Perez et al. 2018).

    Args:
        x: [features].
        modulation: [2 · features].

    Returns:
        [features].
    """
    factor, offset = jnp.split(modulation, 2)
    return x * (1 + factor) + offset


def fourier_features(t: jax.Array, frequencies: jax.Array) -> jax.Array:
    """``[sin 2π t w, cos 2π t w]`` for the fixed random frequencies ``w`` [n]; returns [2 n]."""
    angle = (2 * jnp.pi) * t * frequencies
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)])


def _band(kernel: jax.Array, block: int) -> jax.Array:
    """``block`` copies of a kernel [5, in, out] side by side, each two rows below the last, as a matrix."""
    _, channels, out = kernel.shape
    rest = 2 * (block - 1)
    copies = [jnp.pad(kernel, ((2 * i, rest - 2 * i), (0, 0), (0, 0))) for i in range(block)]
    return jnp.stack(copies, axis=2).reshape((TAPS + rest) * channels, block * out)


def _shift_down(x: jax.Array) -> jax.Array:
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


def _shift_up(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
