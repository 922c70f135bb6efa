"""The commands, one module each: ``add`` says how it is asked, ``run`` does it.

Heavy modules are imported by the command that needs them, so that help is instant.
"""

from scoread_jax.commands import (
    batch,
    detect,
    doctor,
    evaluate,
    explain,
    export,
    import_weights,
    info,
    sample,
    score,
    threshold,
    train,
)

__all__ = ["ALL"]

# In the order in which help lists them.
ALL = (detect, train, score, batch, evaluate, threshold, explain, sample, info, doctor, export, import_weights)
