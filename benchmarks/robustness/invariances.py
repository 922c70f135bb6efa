"""What a map must not depend on, each tried by hypothesis on many scenes, masks, rings and ways of computing."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.robustness import tiny
from scoread_jax import config, detect, maps, noise, parallel, precondition, scene, statistic
from scoread_jax.config import Config
from scoread_jax.execution import Execution
from scoread_jax.network.mlp import mlp
from scoread_jax.scene import Scene, make_scene
from scoread_jax.sde import ExponentialVE

# Few, since each is compiled for: shapes of scenes, pixels without data, and rings.
_SHAPES, _MASKED, _BANDS = ((9, 8), (7, 11)), (0, 6), 5
_RINGS = (((1, 5), (3, 9)), ((3, 7), (3, 7)))
_PIXELS, _K = 24, 4
_CHUNKS = (detect.Chunk(1, 1), detect.Chunk(5, 2), detect.Chunk(8, 4), detect.Chunk(24, 4))
_DEVICES = 8

_scenes = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(_SHAPES), st.sampled_from(_MASKED))
_recipes = st.sampled_from(range(len(_RINGS)))


def _made(drawn: tuple[int, tuple[int, int], int]) -> tuple[np.ndarray, np.ndarray]:
    """A cube and its valid pixels."""
    seed, (rows, cols), masked = drawn
    rng = np.random.default_rng(seed)
    cube = rng.normal(size=(rows, cols, _BANDS)).cumsum(axis=2) + 3
    valid = np.ones(rows * cols, bool)
    valid[rng.permutation(rows * cols)[:masked]] = False
    return cube.astype(np.float32), valid.reshape(rows, cols)


@functools.cache
def _recipe(rings: int) -> Config:
    (inner, outer), (gaussian_inner, gaussian_outer) = _RINGS[rings]
    return config.replace(
        tiny.recipe(),
        {
            "closed_form.nearest_inner": [inner], "closed_form.nearest_outer": [outer],
            "closed_form.gaussian_inner": [gaussian_inner], "closed_form.gaussian_outer": [gaussian_outer],
            "closed_form.scene_references": 128,
        },
    )  # fmt: skip


def _closed_form(image: Scene, rings: int, rows: int = 0) -> dict[str, np.ndarray]:
    """The members in closed form, each [rows, cols], NaN where masked."""
    spectra = maps.Spectra(image, scene.global_min_max(image), None)
    found = maps.closed_form_members(spectra, _recipe(rings), Execution(rows=rows or image.rows))
    planes = {name: np.full(image.valid.shape, np.nan) for name in found}
    for name, plane in planes.items():
        plane[image.valid] = found[name]
    return planes


def _same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float = 0) -> None:
    for name, plane in expected.items():
        np.testing.assert_allclose(found[name], plane, rtol=tolerance, atol=tolerance, err_msg=name)


@given(_scenes, _recipes, st.integers(1, 12))
def blocks(drawn: Any, rings: int, rows: int) -> None:
    """How many rows are worked on at once."""
    cube, valid = _made(drawn)
    image = make_scene(cube, mask=valid)
    _same(_closed_form(image, rings, min(rows, image.rows)), _closed_form(image, rings))


@given(_scenes, _recipes, st.sampled_from([np.nan, np.inf, 0.0, -1e30, 1e30]))
def masked_pixels(drawn: Any, rings: int, value: float) -> None:
    """What stands where nothing is valid."""
    cube, valid = _made(drawn)
    other = cube.copy()
    other[~valid] = value
    _same(_closed_form(make_scene(other, mask=valid), rings), _closed_form(make_scene(cube, mask=valid), rings))


@given(_scenes, _recipes, st.integers(-60, 60))
def units(drawn: Any, rings: int, power: int) -> None:
    """The unit of the values; by powers of two, nothing is rounded."""
    cube, valid = _made(drawn)
    scaled = np.ldexp(cube.astype(np.float64), power)
    _same(_closed_form(make_scene(scaled, mask=valid), rings), _closed_form(make_scene(cube, mask=valid), rings))


@given(_scenes, _recipes, st.integers(1, 3))
def mirrors(drawn: Any, rings: int, axes: int) -> None:
    """Which side the sensor looked from: a mirrored scene has the mirrored map, but for the order of sums."""
    cube, valid = _made(drawn)
    turn = (slice(None, None, -1 if axes & 1 else 1), slice(None, None, -1 if axes & 2 else 1))
    found = _closed_form(make_scene(cube[turn].copy(), mask=valid[turn].copy()), rings)
    expected = _closed_form(make_scene(cube, mask=valid), rings)
    _same({name: plane[turn] for name, plane in found.items()}, expected, tolerance=2e-3)


_SDE, _NETWORK, _ESTIMATOR = (
    ExponentialVE(),
    mlp(_BANDS, hidden=8, blocks=1, embedding=4),
    noise.ESTIMATORS["reference"],
)


@functools.cache
def _scored() -> tuple[Any, Any]:
    """A network's variables, and its score function: one object, so that it is compiled once."""
    return _NETWORK.init(jax.random.key(0)), precondition.over_std(_SDE, _NETWORK.apply)


def _network_scores(seed: int, chosen: Any = slice(None), chunk: detect.Chunk = _CHUNKS[-1], **devices: Any) -> Any:
    """Scores of some of the pixels of a scene by a network, [times, chosen]."""
    variables, score = _scored()
    spectra = np.random.default_rng(seed).random((_PIXELS, _BANDS)).astype(np.float32)
    return np.asarray(
        detect.pixel_scores(
            jax.random.key(seed), variables, jnp.asarray(spectra[chosen]), jnp.arange(_PIXELS, dtype=jnp.int32)[chosen],
            None, jnp.asarray([0.05, 0.2]), sde=_SDE, score=score, statistic=statistic.unit_sum, perturbations=_K,
            estimator=_ESTIMATOR, chunk=chunk, at_time=_NETWORK.at_time, **devices,
        )
    )  # fmt: skip


@given(st.integers(0, 2**31 - 1), st.sampled_from(_CHUNKS))
def chunks(seed: int, chunk: detect.Chunk) -> None:
    """How many pixels and copies go through a network at once, but for the order of sums."""
    np.testing.assert_allclose(_network_scores(seed, chunk=chunk), _network_scores(seed), rtol=1e-5)


@given(st.integers(0, 2**31 - 1), st.sampled_from([1, 2, 8]), st.sampled_from(parallel.STRATEGIES))
def devices(seed: int, count: int, strategy: Any) -> None:
    """How many devices work, and how they are made to."""
    spread = {"devices": jax.local_devices()[:count], "strategy": strategy}
    np.testing.assert_array_equal(
        _network_scores(seed, chunk=_CHUNKS[1], **spread), _network_scores(seed, chunk=_CHUNKS[1])
    )


@given(st.integers(0, 2**31 - 1), st.permutations(range(_PIXELS)))
def company(seed: int, order: list[int]) -> None:
    """In which order pixels are scored, and between which others."""
    chosen = np.array(order)
    np.testing.assert_array_equal(_network_scores(seed, chosen), _network_scores(seed)[:, chosen])


INVARIANCES: Mapping[str, Callable[[], None]] = {
    each.__name__: each for each in (blocks, masked_pixels, units, mirrors, chunks, devices, company)
}


def hold(name: str, count: int) -> None:
    """Try one of them on ``count`` examples.

    Raises:
        AssertionError: with the smallest example that does not hold.
    """
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=quiet)(
        INVARIANCES[name]
    )()


def invariances(count: int) -> dict[str, Any]:
    """Try each on ``count`` examples, in a process of its own, which has eight devices."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(_DEVICES), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.robustness.invariances", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def _main(count: int) -> None:
    found = {}
    for name, function in INVARIANCES.items():
        begin = time.monotonic()
        found[name] = {"of": (function.__doc__ or "").rstrip("."), "examples": count, "broken": ""}
        try:
            hold(name, count)
        except Exception as error:
            found[name]["broken"] = str(error)
        print(name, time.monotonic() - begin, found[name]["broken"] or "holds", file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
