"""From a trained detector to spectra: what its score model holds for the scene, in the scene's own units."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import sample
from scoread_jax.detect import Detector
from scoread_jax.errors import ConfigError
from scoread_jax.model import build


def spectra(
    detector: Detector, count: int, sampler: str = "heun", steps: int = 64, seed: int | None = None
) -> np.ndarray:
    """Draw spectra from the score model of a detector.

    They lie in the space of the detector's view: what its components leave out, mostly noise, is not drawn.

    Args:
        detector: with a network that is not conditional.
        count: how many, ≥ 1.
        sampler: one of ``sample.SAMPLERS``.
        steps: of the sampler, ≥ 1.
        seed: of the draws; that of the detector where None.

    Returns:
        float32 [count, bands], in the units of the detector's scene.

    Raises:
        ConfigError: for a detector without a network or with a conditional one, or a sampler that is not known.
    """
    config = detector.config
    if "network" not in config.fusion.members:
        raise ConfigError("expected a detector with a network among fusion.members, found none: nothing to draw from")
    if config.context.conditional:
        raise ConfigError(
            f"expected a detector whose network needs no ring, found context.outer = {config.context.outer}; "
            "train one with context.outer and context.inner 0"
        )
    if sampler not in sample.SAMPLERS or count < 1 or steps < 1:
        raise ConfigError(
            f"expected one of the samplers {', '.join(sample.SAMPLERS)} and 1 or more spectra and steps, "
            f"found {sampler}, {count} and {steps}"
        )
    length = detector.bands if detector.view is None else detector.view.basis.shape[1]
    model = build(config, length, detector.functions)

    @jax.jit
    def draw(key: jax.Array, variables: dict) -> jax.Array:
        def score(x: jax.Array, t: jax.Array) -> jax.Array:
            return model.score(variables, x, t, None)

        variance = variables["constants"].get("variance", 0.0)  # known to a network that is preconditioned by it
        return sample.draw(key, model.sde, score, count, length, sample.SAMPLERS[sampler], steps, variance)

    key = jax.random.key(config.seed if seed is None else seed)
    found = np.asarray(draw(key, jax.tree.map(jnp.asarray, detector.variables)))
    values = found if detector.view is None else detector.view.undo(found)
    scaling = detector.normalisation
    return values if scaling is None else (values * scaling.scale + scaling.offset).astype(np.float32)
