"""The published network against golden values, and the lowering against a plain convolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoread_jax import precondition, weights
from scoread_jax.config import NetworkConfig
from scoread_jax.errors import ConfigError
from scoread_jax.network import build, layers
from scoread_jax.network.mlp import mlp
from scoread_jax.network.unet1d import UNet1D, unet1d
from scoread_jax.sde import ExponentialVE

SDE = ExponentialVE()
BLOCKS = ("embed", "h1", "h2", "h3", "h4", "u4", "u3", "u2")


@pytest.fixture(scope="module", params=[("hydice_golden.npz", False), ("pavia_golden.npz", True)])
def golden(request, reference_dir):
    file, conditional = request.param
    with np.load(reference_dir / file) as values:
        arrays = dict(values)
    state = {name.removeprefix("param."): arrays[name] for name in arrays if name.startswith("param.")}
    imported = weights.from_state_dict(state, conditional=conditional)
    network = unet1d(imported.bands, conditional=conditional, **imported.sizes)
    return arrays, conditional, imported, network


def _float32(arrays, name):
    return jnp.asarray(arrays[name], jnp.float32)


def _relative_error(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected)
    axes = tuple(range(1, expected.ndim))
    return np.max(np.linalg.norm(found - expected, axis=axes) / np.linalg.norm(expected, axis=axes))


def _score(golden, x, t):
    arrays, conditional, imported, network = golden
    score = precondition.over_std(SDE, network.apply)
    rings = _float32(arrays, "context") if conditional else None
    with jax.default_matmul_precision("highest"):
        batched = jax.jit(jax.vmap(score, in_axes=(None, 0, 0, 0 if conditional else None)))
        return batched(imported.variables, x, t, rings)


def test_score_equals_golden(golden):
    arrays = golden[0]
    found = _score(golden, _float32(arrays, "x_perturbed"), _float32(arrays, "t"))
    assert _relative_error(found, arrays["score"]) < 1e-5


def test_clean_score_equals_golden(golden):
    arrays = golden[0]
    x = _float32(arrays, "x")
    assert _relative_error(_score(golden, x, jnp.full(len(x), 0.05)), arrays["score_clean_t005"]) < 1e-5


def test_dsm_loss_equals_golden(golden):
    arrays = golden[0]
    score = _score(golden, _float32(arrays, "x_perturbed"), _float32(arrays, "t"))
    _, std = jax.vmap(SDE.marginal)(_float32(arrays, "t"))
    loss = jnp.sum((score * std[:, None] + _float32(arrays, "z")) ** 2, axis=1)
    np.testing.assert_allclose(loss, arrays["dsm_loss"], rtol=1e-5, atol=1e-5)


def test_activations_equal_golden(golden):
    arrays, conditional, imported, _ = golden
    module = UNet1D(imported.bands, conditional, **imported.sizes)

    def blocks(x, t, ring):
        with jax.default_matmul_precision("highest"):
            _, seen = module.apply(imported.variables, x, t, ring, mutable=["intermediates"])
        return {name: values[0] for name, values in seen["intermediates"].items()}

    rows = len(arrays["act_h1"])
    rings = _float32(arrays, "context")[:rows] if conditional else None
    found = jax.jit(jax.vmap(blocks, in_axes=(0, 0, 0 if conditional else None)))(
        _float32(arrays, "x_perturbed")[:rows], _float32(arrays, "t")[:rows], rings
    )
    assert set(found) == set(BLOCKS)
    for name in BLOCKS:
        activation = np.asarray(found[name])
        if activation.ndim == 3:
            activation = activation.transpose(0, 2, 1)
        assert _relative_error(activation, arrays[f"act_{name}"]) < 1e-4, name


def test_std_equals_golden(golden):
    arrays = golden[0]
    _, std = jax.vmap(SDE.marginal)(_float32(arrays, "t"))
    np.testing.assert_allclose(std, arrays["std"], rtol=1e-5)


def _lax_strided(x, kernel):
    return jax.lax.conv_general_dilated(
        x[None], kernel, (2,), [(2, 2)], dimension_numbers=("NWC", "WIO", "NWC"), precision="highest"
    )[0]


def _lax_transposed(x, kernel):
    return jax.lax.conv_general_dilated(
        x[None], kernel[::-1], (1,), [(2, 3)], lhs_dilation=(2,),
        dimension_numbers=("NWC", "WIO", "NWC"), precision="highest",
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "plain"), [(layers.strided_conv, _lax_strided), (layers.transposed_conv, _lax_transposed)]
)
@pytest.mark.parametrize(("length", "channels", "out"), [(16, 3, 5), (2, 1, 4), (32, 8, 1)])
def test_lowering_and_gradients_equal_plain_convolution(ours, plain, length, channels, out):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (length, channels))
    kernel = jax.random.normal(keys[1], (5, channels, out))
    found, expected = jax.jit(ours)(x, kernel), jax.jit(plain)(x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    pull = jax.random.normal(keys[2], expected.shape)
    gradients = [
        jax.jit(jax.grad(lambda x, k, conv=conv: jnp.vdot(conv(x, k), pull), argnums=(0, 1)))(x, kernel)
        for conv in (ours, plain)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_wide_rows_equal_plain_convolution(channels):
    keys = jax.random.split(jax.random.key(4), 2)
    x, kernel = jax.random.normal(keys[0], (24, channels)), jax.random.normal(keys[1], (5, channels, 6))
    expected = _lax_strided(x, kernel)
    for block in (1, 2, 4, 12):
        np.testing.assert_allclose(layers.strided_conv(x, kernel, block), expected, rtol=1e-5, atol=1e-5)


def test_network_gradient_equals_plain_convolution(monkeypatch):
    network = unet1d(20, hidden=32, channels=4, embedding=8)
    variables = network.init(jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (3, 20))

    def loss(params):
        output = jax.vmap(lambda x: network.apply(variables | {"params": params}, x, jnp.float32(0.3), None))(x)
        return jnp.sum(output**2)

    ours = jax.jit(jax.grad(loss))(variables["params"])
    monkeypatch.setattr("scoread_jax.network.unet1d.strided_conv", lambda x, kernel, block: _lax_strided(x, kernel))
    monkeypatch.setattr("scoread_jax.network.unet1d.transposed_conv", _lax_transposed)
    plain = jax.jit(jax.grad(lambda params: loss(params)))(variables["params"])
    for name in plain:
        np.testing.assert_allclose(ours[name], plain[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_group_norm_equals_two_pass():
    keys = jax.random.split(jax.random.key(3), 4)
    x = 3 + jax.random.normal(keys[0], (10, 12))
    shift, gain, bias = (jax.random.normal(key, (12,)) for key in keys[1:])
    grouped = np.asarray(x + shift[None, :]).reshape(10, 3, 4)
    mean, variance = grouped.mean((0, 2), keepdims=True), grouped.var((0, 2), keepdims=True)
    expected = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(10, 12) * np.asarray(gain) + np.asarray(bias)
    np.testing.assert_allclose(layers.biased_group_norm(x, shift, gain, bias, 3), expected, rtol=1e-4, atol=1e-4)


def test_initialisation_follows_pytorch():
    variables = unet1d(162).init(jax.random.key(0))
    params = variables["params"]
    # PyTorch: uniform in ±1/√fan_in, whose standard deviation is 1/√(3 fan_in)
    for name, fan_in in [
        ("fc1_kernel", 162),
        ("fc1_bias", 162),
        ("conv4_kernel", 160),
        ("tconv3_kernel", 80),
        ("out_kernel", 512),
    ]:
        bound = fan_in**-0.5
        assert np.abs(params[name]).max() <= bound
        np.testing.assert_allclose(np.std(params[name]), bound / 3**0.5, rtol=0.15)
    assert np.std(variables["constants"]["frequencies"]) == pytest.approx(10, rel=0.2)
    assert "film1_kernel" not in params
    # the active parameters of the unconditional network at 162 bands
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 326_899 - 128


def test_conditional_network_wants_a_context():
    network = build(NetworkConfig(hidden=16, channels=4, embedding=4), 6, conditional=True)
    variables = network.init(jax.random.key(0))
    x = jnp.ones(6)
    far, near = jnp.full((2, 6), 9.0), jnp.full((2, 6), 0.9)
    apply = jax.jit(network.apply)
    outputs = [apply(variables, x, jnp.float32(0.5), ring) for ring in (far, near)]
    assert not np.allclose(*outputs)
    with pytest.raises(ConfigError, match="give it a context"):
        network.apply(variables, x, jnp.float32(0.5), None)


@pytest.mark.parametrize("settings", [{"hidden": 12}, {"channels": 6}, {"embedding": 3}, {"hidden": 0}])
def test_impossible_sizes(settings):
    with pytest.raises(ConfigError, match="divisible"):
        unet1d(5, **settings)


def test_the_configuration_names_the_network():
    small = NetworkConfig(name="mlp", hidden=8, blocks=1, embedding=4)
    assert build(small, 5, conditional=False) is mlp(5, conditional=False, hidden=8, blocks=1, embedding=4)
    published = NetworkConfig(hidden=16, channels=4, embedding=4)
    assert build(published, 5, conditional=False) is unet1d(5, conditional=False, hidden=16, channels=4, embedding=4)
