"""The published network compiled for this machine's processor, where it has a C compiler.

XLA:CPU gives each layer passes over memory of their own. Here a spectrum goes through all of them near the core, with
fewer products. Without a compiler XLA's programs do the same.
"""

from scoread_jax.network.native.lowering import unet1d, why_not

__all__ = ["unet1d", "why_not"]
