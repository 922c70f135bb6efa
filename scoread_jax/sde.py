"""Forward processes with Gaussian perturbation kernels.

Every process here perturbs a spectrum as ``x(t) = scale(t) · x(0) + std(t) · z`` with ``z ~ N(0, I)``, and is the
solution of ``dx = f(x, t) dt + g(t) dw`` with ``f(x, t) = (scale'/scale) x`` and
``g² = d(std²)/dt − 2 (scale'/scale) std²`` (Song et al. 2021, arXiv 2011.13456, App. B; Karras et al. 2022,
arXiv 2206.00364, eqs. 26–28). So two scalar functions of time are a whole process.

A process is a frozen dataclass of floats: it hashes by value and can be a static argument of ``jax.jit``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from scoread_jax.errors import ConfigError

ScalarFunction = Callable[[jax.Array], jax.Array]

# Halving ln t so often leaves less than float32 tells apart.
_HALVINGS = 40


@runtime_checkable
class SDE(Protocol):
    """What the rest of the package asks of a forward process. All times are scalars in [t_min, t_max]."""

    @property
    def t_min(self) -> float:
        """Smallest training time, > 0."""
        ...

    @property
    def t_max(self) -> float:
        """Largest time."""
        ...

    def marginal(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale and standard deviation of the perturbation kernel at time ``t``, both scalars."""
        ...

    def drift(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """``f(x, t)``, of the shape of ``x``."""
        ...

    def diffusion(self, t: jax.Array) -> jax.Array:
        """``g(t)``, a scalar ≥ 0."""
        ...

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise at ``t_max``, where samplers start."""
        ...


@dataclass(frozen=True)
class GaussianSDE:
    """A forward process from two scalar functions of time.

    Args:
        scale: ``t -> scale(t)``, > 0, differentiable by jax.
        std: ``t -> std(t)``, > 0 for t > 0, differentiable by jax.
        t_min: smallest time used in training, > 0 (``std`` may vanish at 0).
        t_max: largest time, > ``t_min``.

    Use module-level functions: they hash by identity, so the process can be a static jit argument that does not
    retrace.
    """

    scale: ScalarFunction
    std: ScalarFunction
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        _check_times(self.t_min, self.t_max)

    def marginal(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale and standard deviation at ``t``."""
        return self.scale(t), self.std(t)

    def drift(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """``f(x, t)``, derived from ``scale``."""
        return derived_drift(self.scale, x, t)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """``g(t)``, derived from ``scale`` and ``std``."""
        return derived_diffusion(self.scale, self.std, t)

    @property
    def prior_std(self) -> float:
        """``std(t_max)``."""
        return float(self.std(jnp.float32(self.t_max)))


@dataclass(frozen=True)
class ExponentialVE:
    """ScoreAD's variance-exploding process ``dx = σ^t dw``.

    ``std(t)² = (σ^{2t} − 1) / (2 ln σ)``, ``g(t) = σ^t``, ``scale = 1`` (ScoreAD, arXiv 2601.12379, with σ = 5; the
    process of Song's score-SDE tutorial).

    Args:
        sigma: growth of the diffusion coefficient, > 1.
        t_min: smallest training time, > 0.
        t_max: largest time.
    """

    sigma: float = 5.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        _check_times(self.t_min, self.t_max)
        if not self.sigma > 1:
            raise ConfigError(f"sde.sigma must be greater than 1 (the noise grows as sigma^t), found {self.sigma}")

    def marginal(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale (1) and standard deviation at ``t``."""
        log_sigma = jnp.log(jnp.asarray(self.sigma, jnp.result_type(float)))
        # expm1: at t = 1e-5 the difference sigma^{2t} - 1 would keep three digits of float32
        return jnp.ones_like(t), jnp.sqrt(jnp.expm1(2 * t * log_sigma) / (2 * log_sigma))

    def drift(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """Zero."""
        del t
        return jnp.zeros_like(x)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """``σ^t``."""
        return jnp.asarray(self.sigma, jnp.result_type(float)) ** t

    @property
    def prior_std(self) -> float:
        """``std(t_max)``: 2.73 for σ = 5."""
        return float(self.marginal(jnp.float32(self.t_max))[1])


@dataclass(frozen=True)
class LinearVE:
    """The process in which time is the noise: ``std(t) = t``, ``scale = 1``, ``g(t) = √(2t)``.

    Karras et al. 2022 (EDM, arXiv 2206.00364), table 1.

    Args:
        t_min: smallest noise, > 0.
        t_max: largest noise.
    """

    t_min: float = 0.05
    t_max: float = 6.0

    def __post_init__(self) -> None:
        _check_times(self.t_min, self.t_max)

    def marginal(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale (1) and standard deviation (t)."""
        return jnp.ones_like(t), t

    def drift(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """Zero."""
        del t
        return jnp.zeros_like(x)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """``√(2t)``."""
        return jnp.sqrt(2 * t)

    @property
    def prior_std(self) -> float:
        """``t_max``."""
        return self.t_max


@dataclass(frozen=True)
class GeometricVE:
    """Song et al.'s variance-exploding process: ``std(t) = σ_min (σ_max/σ_min)^t``, ``scale = 1``.

    Song et al. 2021 (arXiv 2011.13456), eq. 30 f.

    Args:
        sigma_min: noise at time 0, > 0.
        sigma_max: noise at time 1, > ``sigma_min``.
        t_min: smallest training time, > 0.
        t_max: largest time.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        _check_times(self.t_min, self.t_max)
        if not 0 < self.sigma_min < self.sigma_max:
            raise ConfigError(f"an SDE needs 0 < sigma_min < sigma_max, found {self.sigma_min} and {self.sigma_max}")

    def marginal(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale (1) and standard deviation at ``t``."""
        return jnp.ones_like(t), self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def drift(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """Zero."""
        del t
        return jnp.zeros_like(x)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """``std(t) √(2 ln(σ_max/σ_min))``."""
        return self.marginal(t)[1] * (2 * math.log(self.sigma_max / self.sigma_min)) ** 0.5

    @property
    def prior_std(self) -> float:
        """``std(t_max)``."""
        return float(self.marginal(jnp.float32(self.t_max))[1])


@dataclass(frozen=True)
class VP:
    """The variance-preserving process and its sub-VP sibling, ``β(t) = β_min + t (β_max − β_min)``.

    ``scale(t) = exp(−¼ t² (β_max − β_min) − ½ t β_min)``; ``std² = 1 − scale²``, or ``std = 1 − scale²`` for sub-VP.
    Song et al. 2021 (arXiv 2011.13456), eqs. 32–34 and App. C.

    Args:
        beta_min: at time 0, > 0.
        beta_max: at time 1, ≥ ``beta_min``.
        sub: whether it is the sub-VP process, whose variance is bounded by that of VP.
        t_min: smallest training time, > 0.
        t_max: largest time.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    sub: bool = False
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        _check_times(self.t_min, self.t_max)
        if not 0 < self.beta_min <= self.beta_max:
            raise ConfigError(f"an SDE needs 0 < beta_min ≤ beta_max, found {self.beta_min} and {self.beta_max}")

    def marginal(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale and standard deviation at ``t``."""
        log_scale = -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min
        variance = -jnp.expm1(2 * log_scale)
        return jnp.exp(log_scale), variance if self.sub else jnp.sqrt(variance)

    def drift(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """``−½ β(t) x``."""
        return -0.5 * self._beta(t) * x

    def diffusion(self, t: jax.Array) -> jax.Array:
        """``√β(t)``, for sub-VP ``√(β(t) (1 − scale⁴))``."""
        scale, _ = self.marginal(t)
        return jnp.sqrt(self._beta(t) * (1 - scale**4) if self.sub else self._beta(t))

    @property
    def prior_std(self) -> float:
        """``std(t_max)``, about 1."""
        return float(self.marginal(jnp.float32(self.t_max))[1])

    def _beta(self, t: jax.Array) -> jax.Array:
        return self.beta_min + t * (self.beta_max - self.beta_min)


def noise_level(sde: SDE, t: jax.Array) -> jax.Array:
    """``σ(t) = std/scale``: the noise in units of the unscaled data. All processes are one in this variable."""
    scale, std = sde.marginal(t)
    return std / scale


def time_of_noise(sde: SDE, sigma: jax.Array) -> jax.Array:
    """The time in [t_min, t_max] at which the noise level is ``sigma``, by bisection in ``ln t``; the shape of it."""

    def halve(_: int, span: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = span
        middle = 0.5 * (low + high)
        below = noise_level(sde, jnp.exp(middle)) < sigma
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = jnp.full_like(sigma, math.log(sde.t_min)), jnp.full_like(sigma, math.log(sde.t_max))
    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
    return jnp.clip(jnp.exp(0.5 * (low + high)), sde.t_min, sde.t_max)


def noise_levels(sde: SDE, t: jax.Array | float, steps: int, rho: float = 7.0) -> jax.Array:
    """Rising times from ``t`` to t_max, their noise levels evenly spaced in ``σ^(1/ρ)``.

    Karras et al. 2022 (arXiv 2206.00364), eq. 5, with ρ = 7 as there; its schedule from noise to data is this one
    reversed.

    Args:
        sde: the forward process.
        t: the first time, in [t_min, t_max).
        steps: how many steps to t_max.
        rho: 1 spaces the noise evenly; larger ones put more steps at small noise.

    Returns:
        [steps + 1].
    """
    ends = jnp.asarray([t, sde.t_max], jnp.result_type(float))
    low, high = jax.vmap(lambda end: noise_level(sde, end))(ends) ** (1 / rho)
    inner = low + (high - low) * jnp.arange(1, steps) / steps
    times = jax.vmap(lambda level: time_of_noise(sde, level**rho))(inner)
    return jnp.concatenate([ends[:1], times, ends[1:]])


def derived_drift(scale: ScalarFunction, x: jax.Array, t: jax.Array) -> jax.Array:
    """``f(x, t) = (d ln scale / dt) · x`` by automatic differentiation, of the shape of ``x``."""
    return jax.grad(lambda u: jnp.log(scale(u)))(t) * x


def derived_diffusion(scale: ScalarFunction, std: ScalarFunction, t: jax.Array) -> jax.Array:
    """``g(t) = scale · √(d (std/scale)² / dt)`` by automatic differentiation, a scalar.

    The same as ``√(d std²/dt − 2 (d ln scale/dt) std²)`` without its cancellation.
    """
    growth = jax.grad(lambda u: (std(u) / scale(u)) ** 2)(t)
    return scale(t) * jnp.sqrt(jnp.maximum(growth, 0.0))


def _check_times(t_min: float, t_max: float) -> None:
    if not 0 < t_min < t_max:
        raise ConfigError(f"an SDE needs 0 < t_min < t_max, found t_min = {t_min} and t_max = {t_max}")
