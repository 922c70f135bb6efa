"""Code compiled for this machine's processor, where it has a C compiler.

XLA:CPU gives each operation passes over memory of their own. Here a pixel goes through all of them near the core.
Without a compiler XLA's programs do the same.
"""

from __future__ import annotations

from scoread_jax.native.closed_form import known_as
from scoread_jax.native.library import NotCompiledError

__all__ = ["why_not"]


def why_not() -> str | None:
    """Why nothing can be compiled here, in a few words; None where it can."""
    try:
        known_as("ring_nearest")
    except NotCompiledError as reason:
        return str(reason)
    return None
