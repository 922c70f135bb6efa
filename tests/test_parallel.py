"""One map whatever the devices and the strategy: in a process of its own, which has eight devices."""

from __future__ import annotations

import jax
import pytest

from scoread_jax import native, parallel
from scoread_jax.errors import ConfigError

SCRIPT = """
import json
import jax, jax.numpy as jnp, numpy as np
from scoread_jax import detect, noise, parallel, precondition, statistic
from scoread_jax.network.mlp import mlp
from scoread_jax.network.unet1d import unet1d
from scoread_jax.sde import ExponentialVE

sde, network = ExponentialVE(), NETWORK
score = precondition.over_std(sde, network.apply)
spectra = jax.random.uniform(jax.random.key(1), (61, 5))  # not a multiple of any number of devices
variables, times, reference = network.init(jax.random.key(0)), jnp.asarray([0.05, 0.2]), noise.ESTIMATORS["reference"]
moments = detect._each_time(sde, network.at_time, reference, 4, 5)(jax.random.key(0), variables, times)
shared = variables, None, moments
scorer = detect._scorer(sde, score, score, statistic.unit_sum, 4, reference, detect.Chunk(8, 2))
result = {"devices": jax.local_device_count(), "maps": {}, "collectives": {}}
for count in (1, 2, 8):
    devices = jax.local_devices()[:count]
    for strategy in ("jit", "shard_map", "pmap"):
        found = parallel.map_pixels(scorer, shared, (spectra, jnp.arange(61), None), strategy=strategy, devices=devices)
        assert found.shape == (61, 2)
        result["maps"].setdefault(count, {})[strategy] = np.asarray(found, np.float64).tolist()
compiled, calls = parallel.pixels._compiled, []
def counted(*arguments):
    return lambda *given: calls.append(0) or compiled(*arguments)(*given)
parallel.pixels._compiled, parallel.pixels._CROWDED = counted, 25
for strategy in ("jit", "shard_map", "pmap"):
    found = parallel.map_pixels(scorer, shared, (spectra, jnp.arange(61), None), strategy=strategy, evaluations=10)
    result["maps"].setdefault("in several calls", {})[strategy] = np.asarray(found, np.float64).tolist()
result["calls"] = len(calls)
parallel.pixels._compiled = compiled
full = lambda leaf: jnp.resize(leaf, (64, *leaf.shape[1:]))
for strategy in ("jit", "shard_map", "pmap"):
    lowered = parallel.pixels._compiled(scorer, strategy, tuple(jax.local_devices())).lower(
        shared, (full(spectra), full(jnp.arange(61)), None)
    )
    # Such programs are kept in the compile cache under a name that no other process finds.
    assert "CustomSPMDPartitioning" not in lowered.as_text()
    text = lowered.compile().as_text()
    names = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
    result["collectives"][strategy] = sum(text.count(name) for name in names)
print(json.dumps(result))
"""


# XLA's programs, and code of our own among them.
NETWORKS = ["mlp(5, hidden=8, blocks=1, embedding=4)", "unet1d(5, channels=4, embedding=4).native().scoring"]


@pytest.fixture(scope="module", params=NETWORKS, ids=["xla", "native"])
def eight_devices(request, on_eight_devices):
    if "native" in request.param and native.why_not():
        pytest.skip(f"no native code: {native.why_not()}")
    return on_eight_devices(SCRIPT.replace("NETWORK", request.param))


def test_devices_and_strategies_are_equal_to_the_last_bit(eight_devices):
    assert eight_devices["devices"] == 8
    maps = eight_devices["maps"]
    assert set(maps) == {"1", "2", "8", "in several calls"}
    assert eight_devices["calls"] == 12  # 61 pixels, two for each device at a time
    expected = maps["1"]["jit"]
    for count, by_strategy in maps.items():
        for strategy, found in by_strategy.items():
            assert found == expected, (count, strategy)


def test_nothing_is_exchanged_between_devices(eight_devices):
    assert eight_devices["collectives"] == {"jit": 0, "shard_map": 0, "pmap": 0}


CLOSED_FORM = """
import json, os
os.environ.update(ENVIRONMENT)
import numpy as np
from scoread_jax import config, datasets, maps, parallel
from scoread_jax.execution import PLAIN
from scoread_jax.scene import global_min_max

recipe = config.replace(config.load("default"), {
    "closed_form.views": "root", "closed_form.nearest_inner": 1, "closed_form.nearest_outer": 5,
    "closed_form.neighbours": 3, "closed_form.gaussian_inner": [3, 5], "closed_form.gaussian_outer": [9, 11],
})
image = datasets.synthetic(rows=20, cols=23, bands=30)
spectra, found, compiled = maps.Spectra(image, global_min_max(image), None), {}, parallel.pixels._compiled
texts = []
def seen(*arguments):
    function = compiled(*arguments)
    return lambda *given: texts.append(function.lower(*given).compile().as_text()) or function(*given)
parallel.pixels._compiled = seen
for count, strategy in ((1, "jit"), (2, "jit"), (8, "jit"), (8, "shard_map"), (1, "pmap"), (8, "pmap")):
    parallel.use_devices(count=count, strategy=strategy)
    made = maps.closed_form_members(spectra, recipe, PLAIN)
    found[f"{count} {strategy}"] = {name: np.asarray(one, np.float64).tolist() for name, one in made.items()}
names = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
calls = sum('custom_call_target="scoread_jax' in text for text in texts)
print(json.dumps([found, calls, sum(text.count(name) for text in texts for name in names)]))
"""


@pytest.mark.parametrize("switch", ["1", "0"], ids=["native", "xla"])
def test_the_members_that_need_no_training_are_too(on_eight_devices, switch):
    if switch == "1" and native.why_not():
        pytest.skip(f"no native code: {native.why_not()}")
    found, calls, collectives = on_eight_devices(CLOSED_FORM.replace("ENVIRONMENT", f"SCOREAD_NATIVE='{switch}'"))
    assert calls == (18 if switch == "1" else 0)
    assert collectives == 0
    expected = found.pop("1 jit")
    assert set(expected) == {"ring_nearest", "scene_nearest", "ring_gaussian"}
    for where, members in found.items():
        assert members == expected, where


def test_unknown_strategy():
    with pytest.raises(ConfigError, match="jit, shard_map, pmap"):
        parallel.map_pixels(lambda shared, pixels: pixels, None, None, strategy="vmap")  # type: ignore[arg-type]


@pytest.fixture
def chosen_devices():
    """``use_devices``, undone afterwards."""
    yield parallel.use_devices
    parallel.use_devices()


def test_devices_are_chosen_for_the_process(chosen_devices):
    everything = tuple(jax.local_devices())
    assert parallel.placement() == (everything, "jit")
    assert chosen_devices(everything[0].platform, 1, "pmap") == ((everything[0],), "pmap")
    assert parallel.placement() == ((everything[0],), "pmap")
    assert chosen_devices() == (everything, "jit")


def test_processes_share_a_machine(chosen_devices):
    everything = jax.local_devices()
    taken = [chosen_devices(share=(number, 3)).devices for number in range(3)]
    assert {device for part in taken for device in part} == set(everything)
    assert all(len(part) >= 1 for part in taken)


def test_devices_that_are_not_there(chosen_devices):
    count = len(jax.local_devices())
    for asked, message in [
        ({"count": 0}, "--devices must be 1 or more, found 0"),
        ({"count": count + 1}, f"at most the {count} .* of this machine, found {count + 1}; choose fewer"),
        ({"platform": "tpu"}, "--device tpu expects a TPU that JAX can use, found .* device.*scoread-jax.tpu."),
        ({"strategy": "vmap"}, "strategy must be one of jit, shard_map, pmap, found 'vmap'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            chosen_devices(**asked)
