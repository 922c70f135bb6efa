"""The probability flow: the ordinary differential equation whose paths have the marginals of the forward process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from scoread_jax.errors import ScoreADError
from scoread_jax.sde import SDE

ScoreFunction = Callable[[jax.Array, jax.Array], jax.Array]
"""``(x [bands], t []) -> score [bands]``."""

Field = Callable[[Any, jax.Array], Any]
"""``(state, t []) -> d state / dt``, a tree of arrays like the state."""

Solver = Callable[[Field, Any, jax.Array], Any]
"""``(field, state, times [steps + 1]) -> state`` at the last time; times rise or fall."""


def probability_flow(sde: SDE, score: ScoreFunction) -> Field:
    """``dx/dt = f(x, t) − ½ g(t)² s(x, t)`` (Song et al. 2021, arXiv 2011.13456, eq. 13).

    Args:
        sde: the forward process.
        score: the score function.

    Returns:
        The field, on spectra [bands].
    """
    return lambda x, t: sde.drift(x, t) - 0.5 * sde.diffusion(t) ** 2 * score(x, t)


def heun(field: Field, state: Any, times: jax.Array) -> Any:
    """Heun's method, of second order: a step by the slope here, corrected by the slope there.

    Args:
        field: the right-hand side.
        state: at ``times[0]``, a tree of arrays.
        times: [steps + 1].

    Returns:
        The state at ``times[-1]``.
    """

    def step(state: Any, span: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        start, end = span
        here = field(state, start)
        there = field(jax.tree.map(lambda y, d: y + (end - start) * d, state, here), end)
        return jax.tree.map(lambda y, a, b: y + 0.5 * (end - start) * (a + b), state, here, there), None

    return jax.lax.scan(step, state, (times[:-1], times[1:]))[0]


def adaptive(field: Field, state: Any, times: jax.Array, rtol: float = 1e-5, atol: float = 1e-5) -> Any:
    """Tsitouras's method of fifth order, with steps of its own choice (Diffrax).

    Args:
        field: the right-hand side.
        state: at ``times[0]``, a tree of arrays.
        times: only the first and the last count.
        rtol: relative error allowed a step.
        atol: absolute error allowed a step.

    Returns:
        The state at ``times[-1]``.

    Raises:
        ScoreADError: where Diffrax is not installed.
    """
    try:
        import diffrax
    except ImportError as error:
        raise ScoreADError(
            "adaptive steps need Diffrax, which is not installed: pip install 'scoread-jax[ode]'"
        ) from error
    path = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, state, _: field(state, jnp.asarray(t))),
        diffrax.Tsit5(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=state,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
    )
    return jax.tree.map(lambda leaf: leaf[-1], path.ys)
