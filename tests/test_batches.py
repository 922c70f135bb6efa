"""Training on several devices against training on one: in a process of its own, which has eight of them."""

from __future__ import annotations

import numpy as np
import pytest

from scoread_jax import config, parallel
from scoread_jax.errors import ConfigError

SCRIPT = """
import dataclasses, json
import jax, jax.numpy as jnp, numpy as np
from scoread_jax import loss, parallel, precondition, train
from scoread_jax.config import TrainConfig
from scoread_jax.network.mlp import mlp
from scoread_jax.sde import ExponentialVE

sde, network = ExponentialVE(), mlp(5, hidden=8, blocks=1, embedding=4)
spectra = jax.random.uniform(jax.random.key(1), (61, 5))
result = {"devices": jax.local_device_count(), "runs": {}, "reduced": {}}
for retain, together in ((1.0, 1), (0.75, 1), (0.5, 3)):
    criterion = loss.denoising_score_matching(
        sde, precondition.over_std(sde, network.apply), time_sampler=loss.stratified_times, retain=retain,
        spectra_per_time=together, at_time=network.at_time,
    )
    for devices in (1, 2, 8):
        for strategy in parallel.STRATEGIES[: 3 if devices > 1 else 1]:
            parallel.use_devices(strategy=strategy)
            recipe = TrainConfig(epochs=3, batch_size=16, learning_rate=1e-3, devices=devices)
            state = train.init_state(network.init(jax.random.key(0)), recipe, 61)
            losses = []
            state = train.fit(
                jax.random.key(5), state, spectra, None, jnp.arange(61), criterion, recipe,
                lambda progress: losses.append(progress.loss),
            )
            params = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.params)])
            run = {"params": params.astype(float).tolist(), "losses": losses}
            result["runs"][f"{retain} {devices} {strategy}"] = run
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def eight_devices(on_eight_devices):
    return on_eight_devices(SCRIPT)


def test_training_is_the_same_up_to_the_order_of_sums(eight_devices):
    assert eight_devices["devices"] == 8
    runs = eight_devices["runs"]
    assert len(runs) == 21
    for name, run in runs.items():
        alone = runs[f"{name.split()[0]} 1 jit"]
        np.testing.assert_allclose(run["params"], alone["params"], atol=3e-5, err_msg=name)
        np.testing.assert_allclose(run["losses"], alone["losses"], rtol=1e-5, err_msg=name)


def test_batches_are_really_cut(eight_devices):
    """Another order of sums shows in the last digits."""
    runs = eight_devices["runs"]
    for name, run in runs.items():
        if " 1 " not in name:
            assert run["params"] != runs[f"{name.split()[0]} 1 jit"]["params"], name


def test_devices_must_divide_the_batch():
    with pytest.raises(ConfigError, match=r"train.devices must be a divisor of train.batch_size = 16, found 3"):
        config.TrainConfig(batch_size=16, devices=3)


def test_devices_that_are_not_there():
    with pytest.raises(ConfigError, match=r"train.devices must be at most the \d+ .* to work on, found 4096"):
        parallel.spread_batches(4096)
