"""What is kept on disk of a training: the trained detector, and the run that makes it. The only package with Orbax.

Orbax restores some flipped bits without an error, and meets others with a crash in another thread, so every file is
checked against its digest before Orbax is asked, and every array after.
"""

from scoread_jax.checkpoint.detector import FORMAT, check_target, identity, load, save
from scoread_jax.checkpoint.run import Run
from scoread_jax.checkpoint.steps import Kept, latest_valid

__all__ = ["FORMAT", "Kept", "Run", "check_target", "identity", "latest_valid", "load", "save"]
