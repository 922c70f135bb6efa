"""Training: one epoch is one compiled scan over data that lies on the device.

All randomness comes from one base key and the step number (``fold_in``), so a run that is continued from a state
equals one that was never interrupted.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scoread_jax.config import TrainConfig
from scoread_jax.errors import ConfigError, TrainingError
from scoread_jax.loss import Loss
from scoread_jax.network import Variables


class TrainState(NamedTuple):
    """A complete snapshot of training.

    Attributes:
        params: trained parameters.
        constants: the network's fixed arrays.
        optimizer_state: of optax.
        average: moving average of ``params``, or None without one.
        step: steps taken, int32 [].
    """

    params: Any
    constants: Any
    optimizer_state: optax.OptState
    average: Any
    step: jax.Array

    @property
    def variables(self) -> Variables:
        """What scores: the moving average where there is one, else the parameters."""
        params = self.params if self.average is None else self.average
        return {"params": params, "constants": self.constants}


class Progress(NamedTuple):
    """What a callback is told after each epoch.

    Attributes:
        epoch: epochs done, from 1.
        epochs: epochs in all.
        step: steps done.
        loss: mean training loss over the epoch.
        seconds: since training began.
        state: the state after this epoch; it is consumed by the next, so copy what is to be kept.
    """

    epoch: int
    epochs: int
    step: int
    loss: float
    seconds: float
    state: TrainState


def steps_per_epoch(pixels: int, batch_size: int) -> int:
    """Steps that show every pixel at least once; a last batch that is not full is filled up from the same epoch."""
    return -(-pixels // batch_size)


@functools.cache
def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """AdamW with the recipe's schedule, warm-up and clipping, over ``steps`` steps in all."""
    warmup = round(config.warmup * steps)
    if config.schedule == "cosine":
        rate = optax.schedules.warmup_cosine_decay_schedule(
            0.0 if warmup else config.learning_rate, config.learning_rate, warmup, max(steps, warmup + 1)
        )
    elif warmup:
        rate = optax.schedules.linear_schedule(0.0, config.learning_rate, warmup)
    else:
        rate = config.learning_rate
    adamw = optax.adamw(rate, weight_decay=config.weight_decay)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw) if config.clip_norm else adamw


def epochs_of(config: TrainConfig, pixels: int) -> int:
    """Epochs of the recipe on ``pixels`` pixels: ``config.steps`` rounded up to whole ones, where given."""
    return -(-config.steps // steps_per_epoch(pixels, config.batch_size)) if config.steps else config.epochs


def init_state(variables: Variables, config: TrainConfig, pixels: int) -> TrainState:
    """The state before the first step of training on ``pixels`` pixels."""
    steps = steps_per_epoch(pixels, config.batch_size) * epochs_of(config, pixels)
    # Copies: the compiled epoch consumes the state it is given.
    params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), variables["params"])
    constants = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), variables["constants"])
    return TrainState(
        params=params,
        constants=constants,
        optimizer_state=make_optimizer(config, steps).init(params),
        average=jax.tree.map(jnp.array, params) if config.ema_decay else None,
        step=jnp.zeros((), jnp.int32),
    )


@functools.partial(
    jax.jit, static_argnames=("loss", "optimizer", "batch_size", "ema_decay"), donate_argnames=("state",)
)
def run_epoch(
    key: jax.Array,
    state: TrainState,
    spectra: jax.Array,
    rings: jax.Array | None,
    chosen: jax.Array,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    ema_decay: float,
) -> tuple[TrainState, jax.Array]:
    """One pass over the scene in a random order.

    Args:
        key: the run's base key, the same for all epochs.
        state: consumed.
        spectra: [pixels, bands].
        rings: where each pixel's ring lies in ``spectra``, int32 [pixels, ring], or None.
        chosen: which pixels train, int32 [chosen].
        loss: of a batch; see ``loss.denoising_score_matching``.
        optimizer: see ``make_optimizer``.
        batch_size: at most ``chosen``.
        ema_decay: of the moving average; 0: none.

    Returns:
        The next state and the loss of each step, [steps].
    """
    order_key, step_key = jax.random.split(key)
    pixels = chosen.shape[0]
    steps = steps_per_epoch(pixels, batch_size)
    order = jax.random.permutation(jax.random.fold_in(order_key, state.step // steps), chosen)
    order = jnp.concatenate([order, order[: steps * batch_size - pixels]]).reshape(steps, batch_size)

    def train_step(state: TrainState, batch: jax.Array) -> tuple[TrainState, jax.Array]:
        def batch_loss(params: Any) -> jax.Array:
            ring = None if rings is None else spectra[rings[batch]]
            variables = {"params": params, "constants": state.constants}
            return loss(variables, jax.random.fold_in(step_key, state.step), spectra[batch], ring)

        value, gradient = jax.value_and_grad(batch_loss)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = None if state.average is None else optax.incremental_update(params, state.average, 1 - ema_decay)
        return TrainState(params, state.constants, optimizer_state, average, state.step + 1), value

    return jax.lax.scan(train_step, state, order)


def fit(
    key: jax.Array,
    state: TrainState,
    spectra: jax.Array,
    rings: jax.Array | None,
    chosen: jax.Array,
    loss: Loss,
    config: TrainConfig,
    callback: Callable[[Progress], None] | None = None,
) -> TrainState:
    """Train to the end of the recipe.

    Args:
        key: base key of the run.
        state: where to start: ``init_state``, or a state saved after any epoch. It is consumed.
        spectra: normalised, [pixels, bands].
        rings: int32 [pixels, ring] into ``spectra``, or None for an unconditional network.
        chosen: which pixels train, int32 [chosen].
        loss: of a batch.
        config: the recipe.
        callback: called after each epoch.

    Returns:
        The state after the last epoch.

    Raises:
        ConfigError: for a batch larger than the scene.
        TrainingError: when a loss is not finite.
    """
    pixels = chosen.shape[0]
    if config.batch_size > pixels:
        raise ConfigError(
            f"train.batch_size must be at most the {pixels} pixels that train, found {config.batch_size}; "
            f"choose a smaller one, for example {max(1, pixels // 4)}"
        )
    steps, epochs = steps_per_epoch(pixels, config.batch_size), epochs_of(config, pixels)
    optimizer = make_optimizer(config, steps * epochs)
    begin = time.monotonic()
    for epoch in range(int(state.step) // steps, epochs):
        state, losses = run_epoch(
            key, state, spectra, rings, chosen,
            loss=loss, optimizer=optimizer, batch_size=config.batch_size, ema_decay=config.ema_decay,
        )  # fmt: skip
        losses = np.asarray(losses)
        if not np.isfinite(losses).all():
            failed = epoch * steps + int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
            raise TrainingError(
                f"the training loss is not finite at step {failed} (epoch {epoch + 1}): "
                f"choose a train.learning_rate below {config.learning_rate:g} or set train.clip_norm"
            )
        if callback is not None:
            mean = float(losses.mean())
            callback(Progress(epoch + 1, epochs, (epoch + 1) * steps, mean, time.monotonic() - begin, state))
    return state
