"""Code compiled for this machine's processor, where it has a C compiler; XLA's programs do the same without.

XLA:CPU gives each layer passes over memory of their own. Here a spectrum goes through all of them in the first-level
cache, with fewer products.
"""

from scoread_jax.native.forward import unet1d, why_not

__all__ = ["unet1d", "why_not"]
