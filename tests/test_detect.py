"""Statistics and whole-scene scoring: invariances, bounds, and the authors' networks on real scenes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scoread_jax import context, detect, noise, parallel, precondition, statistic
from scoread_jax.network import in_precision, layers, nothing_of_time
from scoread_jax.network.energy import energy
from scoread_jax.network.mlp import mlp
from scoread_jax.network.unet1d import unet1d
from scoread_jax.sde import ExponentialVE

SDE = ExponentialVE()
BANDS, PIXELS = 5, 23


def raw_output(variables, x, t, ring):
    """A stand-in for a network, nonlinear and quick to compile; the ring enters when there is one."""
    inside = x if ring is None else x + 0.1 * jnp.mean(ring, axis=0)
    return jnp.tanh(inside @ variables["params"]["kernel"]) * (1 + t)


@pytest.fixture(scope="module")
def model():
    kernel = jax.random.normal(jax.random.key(0), (BANDS, BANDS))
    return {"params": {"kernel": kernel}, "constants": {}}, precondition.over_std(SDE, raw_output)


@pytest.fixture(scope="module")
def spectra():
    return jax.random.uniform(jax.random.key(1), (PIXELS, BANDS))


def scores(
    model,
    spectra,
    *,
    chunk=4,
    times=(0.05,),
    places=None,
    rings=None,
    what=statistic.unit_sum,
    K=6,
    seed=3,
    estimator="reference",
    copies=4,
):
    variables, score = model
    places = jnp.arange(len(spectra)) if places is None else places
    return np.asarray(
        detect.pixel_scores(
            jax.random.key(seed), variables, spectra, places, rings, jnp.asarray(times),
            sde=SDE, score=score, statistic=what, perturbations=K, estimator=noise.ESTIMATORS[estimator],
            chunk=detect.Chunk(chunk, min(copies, K)),
        )
    )  # fmt: skip


@pytest.mark.parametrize("what", statistic.STATISTICS.values(), ids=statistic.STATISTICS)
def test_map_does_not_depend_on_the_chunk(model, spectra, what):
    whole = scores(model, spectra, chunk=PIXELS, what=what)
    derived = what not in (statistic.unit_sum, statistic.mean_score, statistic.clean_norm)
    for chunk in (1, 7, 64) if what is statistic.unit_sum else (7,):
        cut = scores(model, spectra, chunk=min(chunk, PIXELS), what=what)
        np.testing.assert_allclose(cut, whole, rtol=1e-4 if derived else 1e-6, atol=1e-6 if derived else 0)


def test_a_pixel_does_not_depend_on_the_others(model, spectra):
    some = jnp.asarray([20, 3, 11])
    np.testing.assert_allclose(
        scores(model, spectra[some], places=some, chunk=3)[0], scores(model, spectra)[0][some], rtol=1e-6
    )


def test_scores_equal_the_definition(model, spectra):
    """One pixel at a time, one perturbation at a time, in plain Python."""
    variables, score = model
    key, times = jax.random.key(3), (0.05, 0.4)
    found = scores(model, spectra[:2], times=times, chunk=2)
    for number, t in enumerate(times):
        std = float(SDE.marginal(jnp.float32(t))[1])
        for pixel in range(2):
            pixel_key = jax.random.fold_in(jax.random.fold_in(key, number), pixel)
            total = np.zeros(BANDS)
            for k in range(6):
                z = jax.random.normal(jax.random.fold_in(pixel_key, k), (BANDS,))
                s = np.asarray(score(variables, spectra[pixel] + std * z, jnp.float32(t), None), np.float64)
                total += s / np.linalg.norm(s)
            assert found[number, pixel] == pytest.approx(np.linalg.norm(total), rel=1e-4)


@pytest.mark.parametrize("estimator", noise.ESTIMATORS)
@pytest.mark.parametrize("what", [statistic.unit_sum, statistic.clean_norm], ids=["unit_sum", "clean_norm"])
def test_map_does_not_depend_on_copies_at_once(model, spectra, estimator, what):
    whole = scores(model, spectra, estimator=estimator, copies=6, what=what)
    for copies in (1, 4):
        np.testing.assert_allclose(
            scores(model, spectra, estimator=estimator, copies=copies, what=what), whole, rtol=1e-6
        )


@pytest.mark.parametrize("name", noise.ESTIMATORS)
def test_noise_of_every_estimator_is_standard_normal(name):
    estimator, K, bands = noise.ESTIMATORS[name], 12, 3
    z = jax.vmap(lambda key: estimator.draw(key, K, bands))(jax.random.split(jax.random.key(0), 4000))
    assert z.shape == (4000, K, bands)
    np.testing.assert_allclose(z.mean((0, 1)), 0, atol=0.03)
    for copy in range(K):
        np.testing.assert_allclose(jnp.cov(z[:, copy].T), np.eye(bands), atol=0.12)
    np.testing.assert_allclose((z**4).mean((0, 1)), 3, atol=0.15)
    if estimator.pairs:
        np.testing.assert_array_equal(z[:, ::2], -z[:, 1::2])


def test_orthogonal_directions():
    z = noise.orthogonal(jax.random.key(0), 12, 4)[::2]
    for frame in (z[:4], z[4:]):
        products = frame @ frame.T
        np.testing.assert_allclose(products - jnp.diag(jnp.diag(products)), 0, atol=1e-5)


def test_shared_noise_is_the_same_for_all_pixels(model, spectra):
    """So equal spectra have equal scores, which they have not with noise of their own."""
    same = jnp.tile(spectra[:1], (5, 1))
    assert np.ptp(scores(model, same, estimator="shared")) < 1e-5
    assert np.ptp(scores(model, same)) > 1e-2


def test_times_do_not_know_of_each_other(model, spectra):
    several, one = scores(model, spectra, times=(0.05, 0.3)), scores(model, spectra, times=(0.05,))
    np.testing.assert_allclose(several[0], one[0], rtol=1e-6)


@pytest.mark.parametrize("network", [unet1d(BANDS, hidden=16, channels=4, embedding=4), mlp(BANDS, hidden=8)])
def test_what_depends_on_time_alone_is_found_before(network):
    variables, t = network.init(jax.random.key(0)), jnp.float32(0.4)
    x = jax.random.normal(jax.random.key(1), (BANDS,))
    known = jax.jit(network.at_time)(variables, t)
    apply = jax.jit(network.apply)
    found = apply(variables | known, x, t, None)
    np.testing.assert_allclose(found, apply(variables, x, t, None), rtol=1e-6)
    # and is not computed again: another time changes nothing
    np.testing.assert_array_equal(apply(variables | known, x, jnp.float32(0.9), None), found)


def test_antithetic_pairs_cancel_for_a_linear_score(model, spectra):
    """The mean over z and −z of a score that is linear in x is the score at x itself."""
    linear = {"params": {"kernel": jnp.eye(BANDS)}, "constants": {}}, lambda v, x, t, ring: -x @ v["params"]["kernel"]
    found = scores(linear, spectra, what=statistic.mean_score, estimator="antithetic")
    np.testing.assert_allclose(found[0], np.linalg.norm(spectra, axis=1), rtol=1e-5)
    assert not np.allclose(scores(linear, spectra, what=statistic.mean_score), found, rtol=1e-2)


def test_rings_reach_the_network(model):
    spectra = jax.random.uniform(jax.random.key(1), (20, BANDS))
    rings = detect.Rings(spectra, jnp.asarray(context.ring_indices(np.ones((4, 5), bool), 3, 1)))
    whole = scores(model, spectra, rings=rings, chunk=20)
    np.testing.assert_allclose(scores(model, spectra, rings=rings, chunk=3), whole, rtol=1e-6)
    far = scores(model, spectra, rings=rings._replace(indices=jnp.roll(rings.indices, 5, axis=0)), chunk=20)
    assert not np.allclose(far, whole, rtol=1e-3)


@pytest.mark.parametrize(
    "network",
    [unet1d(BANDS, hidden=16, channels=4, embedding=4), mlp(BANDS, hidden=16), energy(BANDS, hidden=16)],
    ids=["unet1d", "mlp", "energy"],
)
def test_products_of_bfloat16_keep_the_order_of_the_pixels(network):
    """Rank correlation of at least .99 with the map in float32, which is not the same map."""
    variables = network.init(jax.random.key(0))
    spectra = jax.random.uniform(jax.random.key(1), (90, BANDS)) * jnp.linspace(0.2, 3, 90)[:, None]
    exact, rounded = (
        np.asarray(
            detect.pixel_scores(
                jax.random.key(2), variables, spectra, jnp.arange(90), None, jnp.asarray([0.1]),
                sde=SDE, score=precondition.over_std(SDE, network.apply), statistic=statistic.mean_score,
                perturbations=6, estimator=noise.ESTIMATORS["reference"], chunk=detect.Chunk(30, 6),
                at_time=network.at_time, precision=precision,
            )
        )[0]
        for precision in ("float32", "bfloat16")
    )  # fmt: skip
    assert rounded.dtype == exact.dtype == np.float32
    assert 1e-5 < np.abs(rounded / exact - 1).max() < 0.1
    found = stats.spearmanr(exact, rounded)
    assert found.statistic > 0.99


def test_float32_is_what_it_was():
    """To the last bit, inside of a compiled function too."""
    keys = jax.random.split(jax.random.key(0), 2)
    x, kernel = jax.random.normal(keys[0], (7, 12)), jax.random.normal(keys[1], (12, 9))
    np.testing.assert_array_equal(jax.jit(layers.product)(x, kernel), jax.jit(lambda x, k: x @ k)(x, kernel))
    variables = mlp(BANDS, hidden=8).init(jax.random.key(0))
    same, rounded = (in_precision(variables, precision) for precision in ("float32", "bfloat16"))
    jax.tree.map(np.testing.assert_array_equal, same, variables)
    types = {name: leaf.dtype for name, leaf in rounded["params"].items()}
    assert all((kind == jnp.bfloat16) == name.endswith("_kernel") for name, kind in types.items())
    assert rounded["constants"]["frequencies"].dtype == jnp.float32


def test_seeds_draw_other_noise(model, spectra):
    assert not np.allclose(scores(model, spectra, seed=3), scores(model, spectra, seed=4), rtol=1e-3)


def test_what_a_statistic_ignores_is_not_computed(model, spectra):
    """The clean norm costs one evaluation a pixel, whatever K."""
    variables, score = model

    def work(what, K):
        reference = noise.ESTIMATORS["reference"]
        moments = detect._each_time(SDE, nothing_of_time, reference, K, BANDS)
        shared = variables, None, moments(jax.random.key(0), variables, jnp.asarray([0.05]))
        scorer = detect._scorer(SDE, score, score, what, K, reference, detect.Chunk(1, K))
        compiled = jax.jit(scorer).lower(shared, (spectra, jnp.arange(PIXELS), None)).compile()
        return compiled.cost_analysis()["flops"]

    assert work(statistic.clean_norm, 50) == work(statistic.clean_norm, 1)
    assert work(statistic.unit_sum, 50) > 2 * work(statistic.unit_sum, 1)


@pytest.mark.parametrize("conditional", [False, True])
def test_building_the_same_network_twice_gives_the_same_functions(conditional):
    """Which is why a second run with the same configuration compiles nothing."""
    first, second = (unet1d(BANDS, conditional=conditional, hidden=16) for _ in range(2))
    assert first is second
    assert precondition.over_std(ExponentialVE(), first.apply) is precondition.over_std(ExponentialVE(), second.apply)


def test_a_second_scene_of_the_same_shape_compiles_nothing(model, spectra):
    scores(model, spectra, K=7)
    before = parallel.pixels._compiled.cache_info().currsize
    again = model[0], precondition.over_std(ExponentialVE(), raw_output)
    scores(again, spectra + 1, seed=9, K=7)
    assert parallel.pixels._compiled.cache_info().currsize == before
    reference, chunk = noise.ESTIMATORS["reference"], detect.Chunk(4, 4)
    scorer = detect._scorer(SDE, model[1], model[1], statistic.unit_sum, 7, reference, chunk)
    assert parallel.pixels._compiled(scorer, "jit", tuple(jax.local_devices()))._cache_size() == 1
