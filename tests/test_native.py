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

from scoread_jax import (
    closed_form,
    config,
    doctor,
    ensemble,
    loss,
    model,
    native,
    parallel,
    precondition,
    train,
    weights,
)
from scoread_jax.errors import ConfigError
from scoread_jax.native import closed_form as native_closed_form
from scoread_jax.native import library
from scoread_jax.native import mlp as native_mlp
from scoread_jax.native import unet1d as native_unet1d
from scoread_jax.network.energy import energy
from scoread_jax.network.mlp import Block, mlp
from scoread_jax.network.unet1d import unet1d
from scoread_jax.sde import ExponentialVE

HIDDEN, CHANNELS = 256, 16
SMALL = (("CHANNELS", 4), ("HIDDEN", 256))
TIME = jnp.float32(0.1)

needs_compiler = pytest.mark.skipif(native.why_not() is not None, reason=f"no native code: {native.why_not()}")


def _variables(network, seed=0):
    """Gains and biases too far from their first values to hide a mistake."""
    variables, random = network.init(jax.random.key(seed)), np.random.default_rng(seed)

    def moved(leaf):
        return jnp.asarray(leaf + 0.1 * random.standard_normal(leaf.shape, np.float32))

    return variables | {"params": jax.tree.map(moved, variables["params"])}


def _known(network, variables):
    """With what depends on the time."""
    return variables | jax.jit(network.at_time)(variables, TIME)


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _outputs(network, variables, x, rings=None):
    known = _known(network, variables)
    apply = jax.vmap(network.apply, in_axes=(None, 0, None, None if rings is None else 0))
    return np.asarray(jax.jit(apply)(known, x, TIME, rings))


@functools.cache
def _pair(bands, conditional=False, channels=CHANNELS):
    """XLA's network, the compiled one that scores, and variables of both."""
    network = unet1d(bands, conditional=conditional, channels=channels)
    compiled = network.native()
    assert compiled is not None
    return network, compiled.scoring, _variables(network)


def _of_lanes(lanes):
    """``library.target``, with vectors of that length."""
    return lambda source, function, sizes: library.target(source, function, (*sizes, ("LANES", lanes)))


def _gradient(network, variables, x, rings=None):
    """Of the training loss, with a time of its own for every spectrum, and of the spectra."""
    score = precondition.over_std(ExponentialVE(), network.apply)
    criterion = loss.denoising_score_matching(ExponentialVE(), score, at_time=network.at_time)

    def of(params, x):
        return criterion(variables | {"params": params}, jax.random.key(9), x, rings)

    return jax.jit(jax.value_and_grad(of, argnums=(0, 1)))(variables["params"], x)


def _assert_close(found, expected, tolerance=2e-5):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance * max(1e-3, np.abs(theirs).max()))


@needs_compiler
@pytest.mark.parametrize(("bands", "conditional", "channels", "batch"), [(33, True, 16, 19), (20, False, 4, 5)])
def test_gradients_equal_those_of_xla(bands, conditional, channels, batch):
    network, _, variables = _pair(bands, conditional, channels)
    x = _normal(1, batch, bands)
    rings = _normal(2, batch, 6, bands) if conditional else None
    found = _gradient(network.native().training, variables, x, rings)
    _assert_close(found, _gradient(network, variables, x, rings))


@needs_compiler
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize(("conditional", "batch"), [(False, 70), (True, 5)])
def test_the_default_networks_gradients_equal_those_of_xla(monkeypatch, conditional, batch, lanes):
    network = mlp.__wrapped__(21, conditional=conditional, hidden=64, blocks=2)
    variables, x = _variables(network), _normal(1, batch, 21)
    rings = _normal(2, batch, 6, 21) if conditional else None
    monkeypatch.setattr(native_mlp, "target", _of_lanes(lanes))
    monkeypatch.setattr(native_mlp, "trunk", native_mlp.trunk.__wrapped__)
    compiled = network.native().training
    _assert_close(_gradient(compiled, variables, x, rings), _gradient(network, variables, x, rings))
    expected, found = (_outputs(one, variables, x, rings) for one in (network, compiled))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@needs_compiler
@pytest.mark.parametrize("name", ["scoread-hydice", "default"])
def test_training_takes_the_same_course(name):
    """To the rounding of a few steps; and the same to the last bit when it is repeated."""
    recipe = config.replace(
        config.load(name),
        {"train.batch_size": 8, "train.learning_rate": 1e-4, "train.ensemble": 2, "train.clip_norm": 1.0},
    )
    spectra = jax.random.uniform(jax.random.key(3), (24, 20))
    chosen = jnp.arange(24, dtype=jnp.int32)
    order = train.epoch_order(jax.random.key(4), 0, chosen, batch_size=8)

    def trained(wanted):
        built = model.build(recipe, 20, native=wanted)
        variables = built.network.init(jax.random.key(5))
        variables = variables | {"constants": variables["constants"] | {"variance": jnp.ones(20)}}
        state = train.init_state(variables, recipe.train, 24)
        optimizer = train.make_optimizer(recipe.train, 3)
        return train.run_steps(
            jax.random.key(6), state, 3, order, spectra, None, loss=built.loss, optimizer=optimizer, ema_decay=0.0,
            members=parallel.Trainings(2),
        )  # fmt: skip

    (native_state, native_losses), again, (state, losses) = trained(True), trained(True), trained(False)
    np.testing.assert_allclose(native_losses, losses, rtol=1e-4)
    _assert_close(native_state.params, state.params, tolerance=1e-3)
    jax.tree.map(np.testing.assert_array_equal, native_state.params, again[0].params)


@needs_compiler
@pytest.mark.parametrize(
    ("bands", "conditional", "channels"), [(7, False, 16), (175, False, 16), (33, True, 16), (40, False, 4)]
)
def test_outputs_equal_those_of_xla(bands, conditional, channels):
    network, compiled, variables = _pair(bands, conditional, channels)
    x = _normal(1, 37, bands)
    rings = _normal(2, 37, 6, bands) if conditional else None
    expected = _outputs(network, variables, x, rings)
    np.testing.assert_allclose(_outputs(compiled, variables, x, rings), expected, atol=1e-5 * np.abs(expected).max())


@needs_compiler
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_every_length_of_vectors(monkeypatch, lanes):
    network, compiled, variables = _pair(20)
    monkeypatch.setattr(native_unet1d, "target", _of_lanes(lanes))
    shorter = native_unet1d.unet1d.__wrapped__(network, 20, HIDDEN, CHANNELS)
    x = _normal(3, 18, 20)
    expected = _outputs(compiled, variables, x)
    np.testing.assert_allclose(_outputs(shorter.scoring, variables, x), expected, atol=1e-5 * np.abs(expected).max())
    _assert_close(_gradient(shorter.training, variables, x), _gradient(network.native().training, variables, x))


RINGS, NEIGHBOURS = ((1, 5), (3, 9), (7, 15)), (3, 20)


def _in_closed_form(x, valid, references, count):
    """Lengths of all three scores, of pixels in 23 dimensions."""
    rng = np.random.default_rng(3)
    places = np.sort(rng.permutation(len(x))[:references]).astype(np.int32)
    known = closed_form.References(x[places], places, count)
    return (
        closed_form.nearest_scores(x, valid, RINGS, NEIGHBOURS),
        closed_form.gaussian_scores(x, valid, RINGS[1:], 0.1, rng.random(len(x)) < 0.9),
        closed_form.scene_scores(known, x, np.arange(len(x), dtype=np.int32)),
    )


@needs_compiler
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_closed_forms_equal_those_of_xla(monkeypatch, lanes):
    valid = np.random.default_rng(0).random((21, 37)) < 0.8
    x = _normal(1, np.count_nonzero(valid), 23)
    functions = ("ring_nearest", "ring_gaussian", "scene_nearest")
    with monkeypatch.context() as patch:
        patch.setattr(closed_form, "on_cpu", lambda: False)
        expected = _in_closed_form(x, valid, 333, 17)
    monkeypatch.setattr(native_closed_form, "target", _of_lanes(lanes))
    for function in functions:
        monkeypatch.setattr(native_closed_form, function, getattr(native_closed_form, function).__wrapped__)
    for ours, theirs in zip(_in_closed_form(x, valid, 333, 17), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@needs_compiler
def test_scores_equal_golden(reference_dir):
    with np.load(reference_dir / "hydice_golden.npz") as values:
        arrays = dict(values)
    state = {name.removeprefix("param."): arrays[name] for name in arrays if name.startswith("param.")}
    imported = weights.from_state_dict(state, conditional=False)
    compiled = unet1d(imported.bands, **imported.sizes).native()
    assert compiled is not None
    network = compiled.scoring
    score = precondition.over_std(ExponentialVE(), network.apply)

    def at(x, t):  # every spectrum has a time of its own
        return score(imported.variables | network.at_time(imported.variables, t), x, t, None)

    x, t = (jnp.asarray(arrays[name], jnp.float32) for name in ("x_perturbed", "t"))
    found = jax.jit(jax.vmap(at))(x, t)
    error = np.linalg.norm(found - arrays["score"], axis=1) / np.linalg.norm(arrays["score"], axis=1)
    assert error.max() < 1e-5


def _published(spectra):
    _, compiled, variables = _pair(32)
    return _outputs(compiled, variables, spectra)


@functools.cache
def _blocks_of_the_default():
    trunk = native_mlp.trunk(32, 2)
    shapes = [(32,), (32,), (32, 32), (32,), (32, 32), (32,)]
    blocks = [Block(*(_normal(seed + i, *shape) for i, shape in enumerate(shapes))) for seed in (10, 20)]
    return jax.jit(jax.vmap(lambda h: trunk(blocks, [_normal(8, 32), _normal(9, 32)], h)))


@needs_compiler
@pytest.mark.parametrize("of", [_published, lambda spectra: _blocks_of_the_default()(spectra)], ids=["unet1d", "mlp"])
@given(count=st.integers(1, 70), place=st.integers(0, 69), scale=st.sampled_from([1e-6, 1.0, 1e4]))
@settings(max_examples=10)
def test_a_spectrum_does_not_depend_on_the_others(of, count, place, scale):
    """Among as many as one likes, on as many threads: the same to the last bit."""
    place %= count
    spectra = np.float32(scale) * _normal(count, count, 32)
    spectra[place] = one = _normal(7, 32)
    np.testing.assert_array_equal(of(spectra)[place], of(one[None])[0])


@needs_compiler
def test_what_is_no_number_stays_where_it_is():
    _, compiled, variables = _pair(20)
    x = _normal(4, 20, 20)
    x[3, 5], x[4, 0] = np.nan, np.inf
    found = _outputs(compiled, variables, x)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[4]).all()
    assert np.isfinite(np.delete(found, [3, 4], axis=0)).all()


@needs_compiler
def test_members_of_an_ensemble():
    network, compiled, _ = _pair(20)
    several = ensemble.networks(network, 3)
    variables = several.init(jax.random.key(5))
    x = _normal(6, 5, 20)

    def mean(one, x):
        score = ensemble.mean_score(precondition.over_std(ExponentialVE(), one.apply))
        known = _known(ensemble.networks(one, 3), variables)
        return jax.jit(jax.vmap(lambda x: score(known, x, TIME, None)))(x)

    np.testing.assert_allclose(mean(compiled, x), mean(network, x), rtol=1e-4, atol=1e-4)


@needs_compiler
def test_it_computes_what_a_configuration_names():
    published = config.load("scoread-hydice")
    slow, fast = (model.build(published, 20, native=wanted) for wanted in (False, True))
    assert fast.network.apply is not slow.network.apply
    assert fast.score is slow.score  # has derivatives
    assert fast.forward is not slow.forward
    assert fast.forward is model.build(published, 20, native=True).forward
    assert fast.loss is not slow.loss
    slow, fast = (model.build(config.load("default"), 20, native=wanted) for wanted in (False, True))
    assert fast.loss is not slow.loss
    assert fast.loss is model.build(config.load("default"), 20, native=True).loss
    assert fast.forward is slow.forward
    assert energy(20).native() is None


@needs_compiler
def test_arrays_that_do_not_fit_are_refused():
    _, compiled, variables = _pair(20)
    known = _known(compiled, variables)
    laid_out = list(known["native"])
    laid_out[2] = laid_out[2][:-1]
    with pytest.raises(jax.errors.JaxRuntimeError, match="an array of another size"):
        jax.block_until_ready(compiled.apply(known | {"native": tuple(laid_out)}, jnp.zeros(20), TIME, None))


@needs_compiler
def test_a_conditional_network_wants_a_context():
    network, _, variables = _pair(33, conditional=True)
    for compiled in network.native():
        known = _known(compiled, variables)
        with pytest.raises(ConfigError, match="give it a context"):
            compiled.apply(known, jnp.zeros(33), TIME, None)


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
    for module in (native_unet1d, native_mlp, native_closed_form):
        monkeypatch.setattr(module, "target", library._registered.__wrapped__)
    monkeypatch.setattr(library, "_library", library._library.__wrapped__)
    assert native.why_not() == reason
    assert f"none: {reason}" in doctor.describe(doctor.examine())
    network = unet1d(21)
    assert network.native() is None
    assert mlp.__wrapped__(21, hidden=96).native() is None
    assert native_closed_form.ring_gaussian(21, ((1, 3),)) is None
    assert native_closed_form.scene_nearest(21) is None
    built = model.build(config.load("scoread-hydice"), 21, native=True)
    assert built.forward is built.score


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("false", r"cannot compile unet1d.c \(status 1\)"),
        ("/no/such/compiler -m64", "/no/such/compiler -m64 does not work"),
        (f"{sys.executable} -c pass", "makes nothing that can be loaded"),
        ("cc '-O2", r"CC is no command \(No closing quotation\)"),
    ],
)
def test_a_compiler_that_does_not_work(monkeypatch, tmp_path, compiler, said):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(library, "compiled_folder", lambda: tmp_path)
    monkeypatch.setattr(library, "_library", library._library.__wrapped__)
    with pytest.raises(library.NotCompiledError, match=said):
        library._registered.__wrapped__("unet1d", "network", SMALL)
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_it_is_compiled_once_for_all_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "compiled_folder", lambda: tmp_path / "new")
    library._library.__wrapped__("unet1d", SMALL)
    (made,) = (tmp_path / "new").iterdir()
    part = made.read_bytes()[:1000]
    made.unlink()
    made.write_bytes(part)  # of no use: made again
    assert library._library.__wrapped__("unet1d", SMALL).network
    monkeypatch.setattr(library, "_compile", lambda *_: pytest.fail("compiled again"))
    assert library._library.__wrapped__("unet1d", SMALL).network
    assert list((tmp_path / "new").glob("*.so")) == [made]


@needs_compiler
def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(library, "compiled_folder", lambda: tmp_path / "file" / "folder")
    assert library._library.__wrapped__("unet1d", SMALL).network
