"""Training: many steps are one compiled loop over data that lies on the device.

All randomness comes from one base key and the step number (``fold_in``), so a run that is continued from a state
equals one that was never interrupted, also in the middle of an epoch.
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

from scoread_jax import ensemble, held_out
from scoread_jax.config import TrainConfig
from scoread_jax.errors import ConfigError, TrainingError
from scoread_jax.loss import Loss
from scoread_jax.network import Variables
from scoread_jax.parallel import ONE_DEVICE, Batches, Trainings, spread_batches, spread_trainings

# Steps in one compiled call, at most. Between calls a run can be watched, saved and stopped.
STEPS_AT_ONCE = 512


class TrainState(NamedTuple):
    """A complete snapshot of training.

    Attributes:
        params: trained parameters.
        constants: the network's fixed arrays.
        optimizer_state: of optax.
        average: moving average of ``params``, or None without one.
        step: steps taken, int32 [].
        best: on spectra that are held out, or None without such.

    Of an ensemble all but constants and steps have a leading axis [members].
    """

    params: Any
    constants: Any
    optimizer_state: optax.OptState
    average: Any
    step: jax.Array
    best: held_out.Best | None = None

    @property
    def latest(self) -> Variables:
        """The moving average where there is one, else the parameters."""
        return {"params": self.params if self.average is None else self.average, "constants": self.constants}

    @property
    def variables(self) -> Variables:
        """What scores: the best on what is held out where there is such, else the latest."""
        return self.latest if self.best is None else {"params": self.best.params, "constants": self.constants}


class Progress(NamedTuple):
    """What a callback is told after each epoch, and every ``STEPS_AT_ONCE`` steps of a long one.

    Attributes:
        epoch: whole epochs done.
        epochs: epochs in all.
        step: steps done.
        loss: mean training loss over the epoch, as far as it was seen.
        seconds: since training began.
        state: the state after this step; it is consumed by the next, so copy what is to be kept.
        held_out: loss on what does not train after the last whole epoch, None without such.
    """

    epoch: int
    epochs: int
    step: int
    loss: float
    seconds: float
    state: TrainState
    held_out: float | None = None


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
    # The same form of state with and without clipping, so that a kept one goes on with either.
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, adamw)


def epochs_of(config: TrainConfig, pixels: int) -> int:
    """Epochs of the recipe on ``pixels`` pixels: ``config.steps`` rounded up to whole ones, where given."""
    return -(-config.steps // steps_per_epoch(pixels, config.batch_size)) if config.steps else config.epochs


def init_state(variables: Variables, config: TrainConfig, pixels: int) -> TrainState:
    """The state before the first step of training on ``pixels`` pixels."""
    return _fresh_state(variables, config, steps_per_epoch(pixels, config.batch_size) * epochs_of(config, pixels))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _fresh_state(variables: Variables, config: TrainConfig, steps: int) -> TrainState:
    def copied(tree: Any) -> Any:  # the compiled loop consumes the state it is given
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)

    params, start = variables["params"], make_optimizer(config, steps).init
    return TrainState(
        params=copied(params),
        constants=copied(variables["constants"]),
        optimizer_state=(jax.vmap(start) if config.ensemble > 1 else start)(params),
        average=copied(params) if config.ema_decay else None,
        step=jnp.zeros((), jnp.int32),
        best=held_out.start(copied(params)) if config.patience else None,
    )


@functools.partial(jax.jit, static_argnames=("batch_size",))
def epoch_order(key: jax.Array, epoch: jax.Array | int, chosen: jax.Array, *, batch_size: int) -> jax.Array:
    """The batches of one pass over the scene, in a random order of its own.

    Args:
        key: the run's base key, the same for all epochs.
        epoch: from 0.
        chosen: which pixels train, int32 [chosen].
        batch_size: at most ``chosen``.

    Returns:
        int32 [steps, batch_size]; every pixel at least once, the first ones again where the last batch is not full.
    """
    order_key, _ = jax.random.split(key)
    steps = steps_per_epoch(chosen.shape[0], batch_size)
    order = jax.random.permutation(jax.random.fold_in(order_key, epoch), chosen)
    return jnp.concatenate([order, order[: steps * batch_size - len(order)]]).reshape(steps, batch_size)


@functools.partial(
    jax.jit, static_argnames=("loss", "optimizer", "ema_decay", "batches", "members"), donate_argnames=("state",)
)
def run_steps(
    key: jax.Array,
    state: TrainState,
    count: jax.Array | int,
    order: jax.Array,
    spectra: jax.Array,
    rings: jax.Array | None,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    batches: Batches = ONE_DEVICE,
    members: Trainings | None = None,
) -> tuple[TrainState, jax.Array]:
    """So many steps of the epoch that the state stands in, in one compiled loop.

    The number of steps is no part of what is compiled, so an epoch in two halves equals an epoch in one, bit for bit.

    Args:
        key: the run's base key, the same for all steps.
        state: consumed.
        count: steps to take, at most those left in the epoch and ``STEPS_AT_ONCE``.
        order: of the epoch, see ``epoch_order``.
        spectra: [pixels, bands].
        rings: where each pixel's ring lies in ``spectra``, int32 [pixels, ring], or None.
        loss: of a batch, and of one member; see ``loss.denoising_score_matching``.
        optimizer: see ``make_optimizer``.
        ema_decay: of the moving average; 0: none.
        batches: the devices that share a batch; all arrays are on each of them.
        members: of an ensemble; what the state has of each is placed as they say.

    Returns:
        The next state and the loss of each step, [min(steps, STEPS_AT_ONCE)], zeros after the first ``count``.
    """
    one_device = _stepper(loss, optimizer, ema_decay, batches, members)
    return batches.run(one_device, key, state, count, order, spectra, rings)


_Stepper = Callable[..., tuple[TrainState, jax.Array]]
"""``(key, state, count, order, spectra, rings) -> (state, losses)``: see ``run_steps``."""


def _stepper(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    batches: Batches,
    members: Trainings | None,
) -> _Stepper:
    """What each of the devices that share a batch does."""
    if members is None:
        return functools.partial(_run_steps, loss, optimizer, ema_decay, batches)

    def one(each: Any, constants: Any, step: jax.Array, key: jax.Array, *given: Any) -> tuple[Any, jax.Array]:
        member, params, optimizer_state, average = each
        own = TrainState(params, constants, optimizer_state, average, step)
        own_loss = ensemble.member_loss(loss, member)
        own, losses = _run_steps(own_loss, optimizer, ema_decay, batches, key, own, *given)
        return (own.params, own.optimizer_state, own.average), losses

    def all_members(key: jax.Array, state: TrainState, count: jax.Array, *given: Any) -> tuple[TrainState, jax.Array]:
        each = members.numbers, state.params, state.optimizer_state, state.average
        own, losses = members.run(one, each, state.constants, state.step, key, count, *given)
        params, optimizer_state, average = own
        state = state._replace(params=params, optimizer_state=optimizer_state, average=average, step=state.step + count)
        return state, jnp.mean(members.take(losses), axis=0)

    return all_members


def _run_steps(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    batches: Batches,
    key: jax.Array,
    state: TrainState,
    count: jax.Array,
    order: jax.Array,
    spectra: jax.Array,
    rings: jax.Array | None,
) -> tuple[TrainState, jax.Array]:
    """What each of the devices does for one network."""
    _, step_key = jax.random.split(key)
    steps = order.shape[0]

    def train_step(number: jax.Array, carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, losses = carry
        batch = batches.part(order[state.step % steps])

        def batch_loss(params: Any) -> jax.Array:
            ring = None if rings is None else spectra[rings[batch]]
            variables = {"params": params, "constants": state.constants}
            average = None if state.average is None else state.latest
            return loss(variables, jax.random.fold_in(step_key, state.step), spectra[batch], ring, batches, average)

        value, gradient = batches.mean(jax.value_and_grad(batch_loss)(state.params))
        updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = None if state.average is None else optax.incremental_update(params, state.average, 1 - ema_decay)
        following = state._replace(params=params, optimizer_state=optimizer_state, average=average, step=state.step + 1)
        return following, losses.at[number].set(value)

    losses = jnp.zeros(min(steps, STEPS_AT_ONCE), spectra.dtype)
    return jax.lax.fori_loop(0, count, train_step, (state, losses))


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
        state: where to start: ``init_state``, or a state that a callback copied. It is consumed.
        spectra: normalised, [pixels, bands].
        rings: int32 [pixels, ring] into ``spectra``, or None for an unconditional network.
        chosen: which pixels train, int32 [chosen].
        loss: of a batch, and of one member of an ensemble.
        config: the recipe.
        callback: see ``Progress``; what it raises ends the training.

    Returns:
        The state after the last epoch: of the recipe, or where ``config.patience`` ended it.

    Raises:
        ConfigError: for a batch larger than the scene.
        TrainingError: when a loss is not finite.
    """
    judge_key, held = None, None
    if config.patience:
        _, _, split_key, judge_key = jax.random.split(key, 4)
        chosen, held = held_out.split(split_key, chosen, config.batch_size)
    pixels = chosen.shape[0]
    check_batch(config, pixels)
    steps, epochs = steps_per_epoch(pixels, config.batch_size), epochs_of(config, pixels)
    optimizer = make_optimizer(config, steps * epochs)
    batches, members = spread_batches(config.devices), _members(config)
    # Of batches and members one at most is spread, and the other leaves arrays where they are.
    key, judge_key, state, spectra, rings, chosen, held = batches.place(
        (key, judge_key, state, spectra, rings, chosen, held)
    )
    if members is not None:
        key, judge_key, spectra, rings, chosen, held = members.place_shared(
            (key, judge_key, spectra, rings, chosen, held)
        )
        state = place(state, members)
    begin, step, order, losses, judged = time.monotonic(), int(state.step), None, [], None
    while step < steps * epochs and not _waited_enough(state, config):
        epoch, done = divmod(step, steps)
        if order is None or not done:
            order, losses = epoch_order(key, epoch, chosen, batch_size=config.batch_size), []
        count = min(steps - done, STEPS_AT_ONCE)
        state, found = run_steps(
            key, state, count, order, spectra, rings,
            loss=loss, optimizer=optimizer, ema_decay=config.ema_decay, batches=batches, members=members,
        )  # fmt: skip
        found = np.asarray(found)[:count]
        _check_losses(found, step, epoch, config)
        step, losses = step + count, [*losses, found]
        if state.best is not None and step % steps == 0:
            best, value = held_out.judge(
                judge_key, state.best, state.latest, held, spectra, rings, loss=loss, members=members
            )
            state, judged = state._replace(best=best), float(value)
        if callback is not None:
            mean = float(np.concatenate(losses).mean())
            last = step // steps if _waited_enough(state, config) else epochs
            now = _taken(state, members)
            callback(Progress(step // steps, last, step, mean, time.monotonic() - begin, now, judged))
    return _taken(state, members)


def fit_together(
    keys: jax.Array,
    states: TrainState,
    spectra: jax.Array,
    chosen: jax.Array,
    loss: Loss,
    config: TrainConfig,
) -> TrainState:
    """Train several runs of one recipe, each with spectra and a key of its own, each on one of the devices.

    Each is what ``fit`` makes of it alone, but for the order of sums.

    Args:
        keys: base keys, [runs].
        states: all leaves [runs, …]; consumed.
        spectra: normalised, [runs, pixels, bands].
        chosen: which pixels train, the same places for all, int32 [chosen].
        loss: of a batch.
        config: the recipe, without ``patience``.

    Returns:
        The states after the last epoch, all leaves [runs, …].

    Raises:
        ConfigError: for a batch larger than the scene.
        TrainingError: when a loss is not finite.
    """
    pixels = chosen.shape[0]
    check_batch(config, pixels)
    steps, epochs = steps_per_epoch(pixels, config.batch_size), epochs_of(config, pixels)
    optimizer = make_optimizer(config, steps * epochs)
    runs = spread_trainings(keys.shape[0])
    keys, states, spectra = runs.place((keys, states, spectra))
    chosen = runs.place_shared(chosen)
    for epoch in range(epochs):
        for done in range(0, steps, STEPS_AT_ONCE):
            count = min(steps - done, STEPS_AT_ONCE)
            states, found = _run_together(
                keys, states, spectra, chosen, epoch, count,
                loss=loss, optimizer=optimizer, config=config, runs=runs,
            )  # fmt: skip
            _check_losses(np.asarray(runs.take(found))[:, :count], epoch * steps + done, epoch, config)
    return runs.take(states)


@functools.partial(jax.jit, static_argnames=("loss", "optimizer", "config", "runs"), donate_argnames=("states",))
def _run_together(
    keys: jax.Array,
    states: TrainState,
    spectra: jax.Array,
    chosen: jax.Array,
    epoch: int,
    count: int,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    runs: Trainings,
) -> tuple[TrainState, jax.Array]:
    """``run_steps`` of several runs; their states, and their losses [runs, steps]."""
    stepper = _stepper(loss, optimizer, config.ema_decay, ONE_DEVICE, _members(config, alone=True))

    def one(each: Any, chosen: jax.Array, epoch: jax.Array, count: jax.Array) -> tuple[TrainState, jax.Array]:
        key, state, spectra = each
        order = epoch_order(key, epoch, chosen, batch_size=config.batch_size)
        return stepper(key, state, count, order, spectra, None)

    return runs.run(one, (keys, states, spectra), chosen, epoch, count)


def _members(config: TrainConfig, *, alone: bool = False) -> Trainings | None:
    """How the members of an ensemble are spread: over no devices where those share the batches."""
    return spread_trainings(config.ensemble, alone=alone or config.devices > 1) if config.ensemble > 1 else None


def place(state: TrainState, members: Trainings) -> TrainState:
    """The state of an ensemble as ``run_steps`` takes it."""
    shared, own = members.place_shared(_of_each(state, lambda _: None)), _of_each(state, members.place)
    best = None if own.best is None else shared.best._replace(params=own.best.params)
    return own._replace(constants=shared.constants, step=shared.step, best=best)


def _taken(state: TrainState, members: Trainings | None) -> TrainState:
    """``place`` undone."""
    return state if members is None else _of_each(state, members.take)


def _of_each(state: TrainState, fn: Callable[[Any], Any]) -> TrainState:
    """``fn`` of all that a state has of each member of an ensemble."""
    best = None if state.best is None else state.best._replace(params=fn(state.best.params))
    return state._replace(
        params=fn(state.params), optimizer_state=fn(state.optimizer_state), average=fn(state.average), best=best
    )


def check_batch(config: TrainConfig, pixels: int) -> None:
    """Refuse a batch larger than the ``pixels`` that train.

    Raises:
        ConfigError: for such a one.
    """
    if config.batch_size > pixels:
        raise ConfigError(
            f"train.batch_size must be at most the {pixels} pixels that train, found {config.batch_size}; "
            f"choose a smaller one, for example {max(1, pixels // 4)}"
        )


def _check_losses(losses: np.ndarray, step: int, epoch: int, config: TrainConfig) -> None:
    """Losses [..., steps] after so many steps must be finite."""
    finite = np.isfinite(losses)
    if not finite.all():
        failed = step + int(np.nonzero(~finite)[-1].min()) + 1
        raise TrainingError(
            f"the training loss is not finite at step {failed} (epoch {epoch + 1}): "
            f"choose a train.learning_rate below {config.learning_rate:g} or set train.clip_norm"
        )


def _waited_enough(state: TrainState, config: TrainConfig) -> bool:
    """Whether the loss on what is held out has not fallen for long enough."""
    return state.best is not None and int(state.best.waited) >= config.patience
