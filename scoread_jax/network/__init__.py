"""Networks as pairs of pure functions.

A network is ``init(key) -> variables`` and ``apply(variables, x, t, context) -> output``, both for one spectrum;
batches come from ``jax.vmap``. What the output means is decided by a preconditioning (``scoread_jax.precondition``),
so a network knows nothing of the noise process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scoread_jax.config import NetworkConfig

Variables = dict[str, Any]
"""``{"params": trained, "constants": fixed}``, nested dictionaries of arrays."""

Apply = Callable[[Variables, jax.Array, jax.Array, jax.Array | None], jax.Array]


AtTime = Callable[[Variables, jax.Array], Variables]


def nothing_of_time(variables: Variables, t: jax.Array) -> Variables:
    """``at_time`` of a network that computes everything where it is needed."""
    del variables, t
    return {}


def no_other() -> Native | None:
    """``native`` of a network that XLA alone computes."""
    return None


class Network(NamedTuple):
    """Pure functions; ``init`` and ``apply`` are all that a network must have.

    Attributes:
        init: ``key -> variables``.
        apply: ``(variables, x [bands], t [], context [ring, bands] or None) -> [bands]``.
        evaluation_bytes: memory that one evaluation's activations take, roughly.
        at_time: ``(variables, t []) -> more variables``: what depends on the time alone. ``apply`` may be given
            ``variables | at_time(variables, t)`` and need not compute it for every spectrum.
        native: the same for the CPU at hand, where it can be had.
    """

    init: Callable[[jax.Array], Variables]
    apply: Apply
    evaluation_bytes: int = 1 << 15
    at_time: AtTime = nothing_of_time
    native: Callable[[], Native | None] = no_other


class Native(NamedTuple):
    """A network compiled for the CPU at hand; see ``scoread_jax.native``.

    Attributes:
        scoring: without derivatives; ``apply`` must be given what ``at_time`` returns.
        training: with first derivatives.
    """

    scoring: Network
    training: Network


PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def in_precision(variables: Variables, precision: str) -> Variables:
    """Variables with which a network multiplies numbers of that precision; all else it does in float32.

    The factors of a product are the kernels and what meets them, rounded; its sums stay float32.

    Args:
        variables: of a network; those whose names end in ``_kernel`` are the factors.
        precision: one of ``PRECISIONS``.
    """

    def rounded(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        return leaf.astype(PRECISIONS[precision]) if jax.tree_util.keystr(path[-1:]).endswith("_kernel']") else leaf

    return jax.tree_util.tree_map_with_path(rounded, variables)


def build(config: NetworkConfig, bands: int, *, conditional: bool) -> Network:
    """The network that a configuration names.

    Args:
        config: name and sizes.
        bands: length of a spectrum.
        conditional: whether ``apply`` is given a ring of neighbours.
    """
    from scoread_jax.network.energy import energy
    from scoread_jax.network.mlp import mlp
    from scoread_jax.network.unet1d import unet1d

    if config.name in ("mlp", "energy"):
        make = mlp if config.name == "mlp" else energy
        return make(
            bands, conditional=conditional, hidden=config.hidden, blocks=config.blocks, embedding=config.embedding
        )
    return unet1d(
        bands, conditional=conditional, hidden=config.hidden, channels=config.channels, embedding=config.embedding
    )
