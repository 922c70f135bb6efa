"""Networks as pairs of pure functions.

A network is ``init(key) -> variables`` and ``apply(variables, x, t, context) -> output``, both for one spectrum;
batches come from ``jax.vmap``. What the output means is decided by a preconditioning (``scoread_jax.precondition``),
so a network knows nothing of the noise process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Variables = dict[str, Any]
"""``{"params": trained, "constants": fixed}``, nested dictionaries of arrays."""

Apply = Callable[[Variables, jax.Array, jax.Array, jax.Array | None], jax.Array]


class Network(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: ``key -> variables``.
        apply: ``(variables, x [bands], t [], context [ring, bands] or None) -> [bands]``.
    """

    init: Callable[[jax.Array], Variables]
    apply: Apply


def build(name: str, bands: int, *, conditional: bool, **settings: Any) -> Network:
    """The network of that name for spectra of ``bands`` bands.

    Args:
        name: ``"unet1d"``, ScoreAD's published network.
        bands: length of a spectrum.
        conditional: whether ``apply`` is given a ring of neighbours.
        **settings: the network's own sizes.

    Raises:
        ConfigError: for a name that is not known.
    """
    from scoread_jax.errors import ConfigError
    from scoread_jax.network.unet1d import unet1d

    networks = {"unet1d": unet1d}
    if name not in networks:
        raise ConfigError(f"network.name must be one of {', '.join(sorted(networks))}, found {name!r}")
    return networks[name](bands, conditional=conditional, **settings)
