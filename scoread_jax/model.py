"""From a configuration to the functions that it names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from scoread_jax import ensemble, loss, network, precondition, sde, statistic
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Functions
from scoread_jax.errors import ConfigError
from scoread_jax.network import Apply, Native, Network
from scoread_jax.sde import SDE


class Model(NamedTuple):
    """The functions that a configuration names.

    Attributes:
        sde: the forward process.
        network: raw network, for ``forward``.
        score: the score function, per spectrum.
        forward: the same where no derivative is asked for, given what ``network.at_time`` returns.
        loss: of a training batch, for one member of an ensemble.
        statistic: of a pixel's perturbed scores.
    """

    sde: SDE
    network: Network
    score: Apply
    forward: Apply
    loss: loss.Loss
    statistic: statistic.Statistic


def build(config: Config, bands: int, functions: Functions = AS_CONFIGURED, *, native: bool = False) -> Model:
    """The functions named by a configuration, for a network that sees ``bands`` bands or coordinates.

    Args:
        config: names of functions, and their settings.
        bands: length of what the network sees.
        functions: in place of those that the configuration names.
        native: let ``forward`` and ``loss`` use code for the CPU at hand, where it can be had; ``scoread_jax.native``.

    Raises:
        ConfigError: for noise times outside of a user's own process.
    """
    process = functions.sde or _process(config)
    for t in config.detect.times:
        if t > process.t_max:
            raise ConfigError(f"detect.times must be in (0, {process.t_max:g}] (the process's t_max), found {t:g}")
    conditional = config.context.conditional
    if functions.network is None:
        net = network.build(config.network, bands, conditional=conditional)
    else:
        net = _own_network(functions.network, bands, conditional)
    preconditioned = functools.partial(precondition.PRECONDITIONINGS[config.network.precondition], process)
    scoring, training = (net.native() if native else None) or Native(net, net)
    score, forward = preconditioned(net.apply), preconditioned(scoring.apply)
    criterion = loss.denoising_score_matching(
        process,
        preconditioned(training.apply),
        loss.WEIGHTINGS[config.train.weighting],
        loss.TIME_SAMPLERS[config.train.times],
        config.train.retain,
        config.train.ring_dropout,
        None if config.train.teacher_keep == 1 else loss.Teacher(config.train.teacher_keep, config.detect.times[0]),
        config.train.spectra_per_time,
        training.at_time,
    )
    net = scoring
    if config.train.ensemble > 1:
        net = ensemble.networks(net, config.train.ensemble)
        score, forward = ensemble.mean_score(score), ensemble.mean_score(forward)
    return Model(
        process, net, score, forward, criterion, functions.statistic or statistic.STATISTICS[config.detect.statistic]
    )


def _process(config: Config) -> SDE:
    chosen = config.sde
    times = {"t_min": chosen.t_min, "t_max": chosen.t_max}
    match chosen.name:
        case "linear_ve":
            return sde.LinearVE(**times)
        case "geometric_ve":
            return sde.GeometricVE(chosen.sigma_min, chosen.sigma_max, **times)
        case "vp" | "sub_vp":
            return sde.VP(chosen.beta_min, chosen.beta_max, chosen.name == "sub_vp", **times)
        case _:
            return sde.ExponentialVE(chosen.sigma, **times)


@functools.cache
def _own_network(make: Callable[[int, bool], Network], bands: int, conditional: bool) -> Network:
    """The same function objects for the same network, so that nothing is compiled twice."""
    return make(bands, conditional)
