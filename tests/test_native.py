"""Code compiled for the processor against XLA's, and what happens where there is none."""

from __future__ import annotations

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoread_jax import config, doctor, ensemble, model, native, precondition, weights
from scoread_jax.native import library
from scoread_jax.network.unet1d import unet1d
from scoread_jax.sde import ExponentialVE

HIDDEN, CHANNELS = 256, 16
SMALL = (("CHANNELS", 4), ("HIDDEN", 256))
TIME = jnp.float32(0.1)

needs_compiler = pytest.mark.skipif(native.why_not() is not None, reason=f"no native code: {native.why_not()}")


def _variables(network, seed=0):
    """Gains and biases too far from their first values to hide a mistake."""
    variables = network.init(jax.random.key(seed))
    leaves, tree = jax.tree.flatten(variables["params"])
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return variables | {"params": jax.tree.unflatten(tree, moved)}


def _outputs(network, variables, x, rings=None):
    known = variables | jax.jit(network.at_time)(variables, TIME)
    apply = jax.vmap(network.apply, in_axes=(None, 0, None, None if rings is None else 0))
    return np.asarray(jax.jit(apply)(known, x, TIME, rings))


@functools.cache
def _pair(bands, conditional=False, channels=CHANNELS):
    """XLA's network and the compiled one."""
    network = unet1d(bands, conditional=conditional, channels=channels)
    compiled = network.native()
    assert compiled is not None
    return network, compiled, _variables(network)


@needs_compiler
@pytest.mark.parametrize(
    ("bands", "conditional", "channels"), [(7, False, 16), (175, False, 16), (33, True, 16), (40, False, 4)]
)
def test_outputs_equal_those_of_xla(bands, conditional, channels):
    network, compiled, variables = _pair(bands, conditional, channels)
    x = jax.random.normal(jax.random.key(1), (37, bands))
    rings = jax.random.normal(jax.random.key(2), (37, 6, bands)) if conditional else None
    expected = _outputs(network, variables, x, rings)
    np.testing.assert_allclose(_outputs(compiled, variables, x, rings), expected, atol=1e-5 * np.abs(expected).max())


@needs_compiler
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_every_length_of_vectors(monkeypatch, lanes):
    network, compiled, variables = _pair(20)
    sized = functools.partial(library._registered.__wrapped__, "unet1d")
    monkeypatch.setattr("scoread_jax.native.forward.target", lambda name, sizes: sized((*sizes, ("LANES", lanes))))
    shorter = native.unet1d.__wrapped__(network, 20, HIDDEN, CHANNELS)
    x = jax.random.normal(jax.random.key(3), (18, 20))
    expected = _outputs(compiled, variables, x)
    np.testing.assert_allclose(_outputs(shorter, variables, x), expected, atol=1e-5 * np.abs(expected).max())


@needs_compiler
def test_scores_equal_golden(reference_dir):
    with np.load(reference_dir / "hydice_golden.npz") as values:
        arrays = dict(values)
    state = {name.removeprefix("param."): arrays[name] for name in arrays if name.startswith("param.")}
    imported = weights.from_state_dict(state, conditional=False)
    network = unet1d(imported.bands, **imported.sizes).native()
    assert network is not None
    score = precondition.over_std(ExponentialVE(), network.apply)

    def at(x, t):  # every spectrum has a time of its own
        return score(imported.variables | network.at_time(imported.variables, t), x, t, None)

    x, t = (jnp.asarray(arrays[name], jnp.float32) for name in ("x_perturbed", "t"))
    found = jax.jit(jax.vmap(at))(x, t)
    error = np.linalg.norm(found - arrays["score"], axis=1) / np.linalg.norm(arrays["score"], axis=1)
    assert error.max() < 1e-5


@needs_compiler
@given(count=st.integers(1, 70), place=st.integers(0, 69), scale=st.sampled_from([1e-6, 1.0, 1e4]))
@settings(max_examples=20)
def test_a_spectrum_does_not_depend_on_the_others(count, place, scale):
    """Among as many as one likes, on as many threads: the same to the last bit."""
    _, compiled, variables = _pair(20)
    place %= count
    others = scale * jax.random.normal(jax.random.key(count), (count, 20))
    one = jax.random.normal(jax.random.key(7), (20,))
    expected = _outputs(compiled, variables, one[None])[0]
    np.testing.assert_array_equal(_outputs(compiled, variables, others.at[place].set(one))[place], expected)


@needs_compiler
def test_what_is_no_number_stays_where_it_is():
    _, compiled, variables = _pair(20)
    x = jax.random.normal(jax.random.key(4), (20, 20)).at[3, 5].set(jnp.nan).at[4, 0].set(jnp.inf)
    found = _outputs(compiled, variables, x)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[4]).all()
    assert np.isfinite(np.delete(found, [3, 4], axis=0)).all()


@needs_compiler
def test_members_of_an_ensemble():
    network, compiled, _ = _pair(20)
    several = ensemble.networks(network, 3)
    variables = several.init(jax.random.key(5))
    x = jax.random.normal(jax.random.key(6), (5, 20))

    def mean(one, x):
        score = ensemble.mean_score(precondition.over_std(ExponentialVE(), one.apply))
        known = variables | ensemble.networks(one, 3).at_time(variables, TIME)
        return jax.vmap(lambda x: score(known, x, TIME, None))(x)

    np.testing.assert_allclose(mean(compiled, x), mean(network, x), rtol=1e-4, atol=1e-4)


@needs_compiler
def test_it_computes_what_a_configuration_names():
    published = config.load("scoread-hydice")
    slow, fast = (model.build(published, 20, native=wanted) for wanted in (False, True))
    assert fast.network.apply is not slow.network.apply
    assert fast.score is slow.score  # has derivatives
    assert fast.forward is not slow.forward
    assert fast.forward is model.build(published, 20, native=True).forward
    assert model.build(config.load("default"), 20, native=True).network.native() is None


@needs_compiler
def test_arrays_that_do_not_fit_are_refused():
    _, compiled, variables = _pair(20)
    known = variables | compiled.at_time(variables, TIME)
    laid_out = list(known["native"])
    laid_out[4] = laid_out[4][:-1]
    with pytest.raises(jax.errors.JaxRuntimeError, match="unet1d: an array of another size"):
        jax.block_until_ready(compiled.apply(known | {"native": tuple(laid_out)}, jnp.zeros(20), TIME, None))


def test_sizes_it_is_not_made_for():
    assert unet1d(20, hidden=64).native() is None
    assert unet1d(20, hidden=256, channels=8).native() is None or native.why_not() is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("SCOREAD_NATIVE", "0", "SCOREAD_NATIVE is 0"), ("PATH", "", "no C compiler is installed")],
)
def test_without_it_xla_computes(monkeypatch, name, value, reason):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("scoread_jax.native.forward.target", library._registered.__wrapped__)
    assert native.why_not() == reason
    assert f"none: {reason}" in doctor.describe(doctor.examine())
    network = unet1d(21)
    assert network.native() is None
    built = model.build(config.load("scoread-hydice"), 21, native=True)
    assert built.forward is built.score


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("false", r"cannot compile unet1d.c \(status 1\)"),
        ("/no/such/compiler -m64", "/no/such/compiler -m64 does not work"),
        (f"{sys.executable} -c pass", "makes nothing that can be loaded"),
    ],
)
def test_a_compiler_that_does_not_work(monkeypatch, tmp_path, compiler, said):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(library, "compiled_folder", lambda: tmp_path)
    with pytest.raises(library.NotCompiledError, match=said):
        library._registered.__wrapped__("unet1d", SMALL)
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_it_is_compiled_once_for_all_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "compiled_folder", lambda: tmp_path / "new")
    library._library("unet1d", SMALL)
    (made,) = (tmp_path / "new").iterdir()
    part = made.read_bytes()[:1000]
    made.unlink()
    made.write_bytes(part)  # of no use: made again
    assert library._library("unet1d", SMALL).forward
    monkeypatch.setattr(library, "_compile", lambda *_: pytest.fail("compiled again"))
    assert library._library("unet1d", SMALL).forward
    assert list((tmp_path / "new").glob("*.so")) == [made]


@needs_compiler
def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(library, "compiled_folder", lambda: tmp_path / "file" / "folder")
    assert library._library("unet1d", SMALL).forward
