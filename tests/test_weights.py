"""The authors' files as our variables: every number, and one sentence for every file that is something else."""

from __future__ import annotations

import pickle
import shutil
import sys
import warnings

import numpy as np
import pytest

from scoread_jax import weights
from scoread_jax.errors import CheckpointError, MissingExtraError

# File: golden values, spectra's length, whether it was trained with a condition.
NETWORKS = {
    "hydice_unconditional.pth": ("hydice_golden.npz", 162, False),
    "pavia_conditional_ring7_5.pth": ("pavia_golden.npz", 102, True),
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def golden_state(reference_dir, name):
    with np.load(reference_dir / NETWORKS[name][0]) as golden:
        return {key.removeprefix("param."): golden[key] for key in golden.files if key.startswith("param.")}


@pytest.fixture(scope="module")
def state(reference_dir):
    """The unconditional network's parameters by the authors' names."""
    return golden_state(reference_dir, "hydice_unconditional.pth")


def refused(function, *arguments, **keywords):
    with pytest.raises(CheckpointError) as caught, warnings.catch_warnings(action="error"):
        function(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 400
    return message


# Reading


@pytest.mark.parametrize("name", NETWORKS)
def test_files_hold_the_golden_parameters(torch, reference_dir, name):
    read, golden = weights.read_state_dict(reference_dir / name), golden_state(reference_dir, name)
    assert set(read) == set(golden)
    for key, value in read.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, golden[key])


def test_tensors_of_other_types_are_read(torch, tmp_path):
    values = torch.tensor([1.5, -2.0])
    tensors = {"a": torch.nn.Parameter(values), "b": values.to(torch.bfloat16), "c": values.double(), "d": values.int()}
    torch.save(tensors, tmp_path / "mine.pth")
    read = weights.read_state_dict(tmp_path / "mine.pth")
    for name, expected in {"a": [1.5, -2], "b": [1.5, -2], "c": [1.5, -2], "d": [1, -2]}.items():
        np.testing.assert_array_equal(read[name], np.float32(expected), strict=True)


def test_code_in_a_file_is_never_run(torch, tmp_path):
    target = tmp_path / "was-run"

    class Malicious:
        def __reduce__(self):
            return target.touch, ()

    for number, value in enumerate((Malicious(), {"fc1.weight": Malicious()}, [Malicious()])):
        torch.save(value, tmp_path / f"{number}.pth")
        (tmp_path / f"{number}.pkl").write_bytes(pickle.dumps(value))
        for path in (tmp_path / f"{number}.pth", tmp_path / f"{number}.pkl"):
            message = refused(weights.read_state_dict, path)
            assert message.startswith(f"{path}: expected a PyTorch state dict")
    assert not target.exists()


def test_whole_models_and_training_snapshots_are_refused(torch, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    assert "pickled objects, which are never loaded" in refused(weights.read_state_dict, path)
    torch.save({"model": {"a": torch.ones(2)}, "epoch": 3}, path)
    message = refused(weights.read_state_dict, path)
    assert "found 'model' of type dict in it; save model.state_dict() alone" in message
    torch.save(torch.ones(3), path)
    assert "found Tensor; save model.state_dict() alone" in refused(weights.read_state_dict, path)


@pytest.mark.parametrize("what", ["missing", "folder", "empty", "text", "truncated", "zip"])
def test_files_that_are_none_are_refused(torch, reference_dir, tmp_path, what):
    path = tmp_path / "mine.pth"
    if what == "folder":
        path.mkdir()
    elif what == "zip":
        np.savez(tmp_path / "mine.npz", a=np.ones(3))
        shutil.move(tmp_path / "mine.npz", path)
    elif what != "missing":
        whole = (reference_dir / "hydice_unconditional.pth").read_bytes()
        path.write_bytes({"empty": b"", "text": b"hello world, " * 50, "truncated": whole[: len(whole) // 2]}[what])
    message = refused(weights.read_state_dict, path)
    assert message.startswith(f"{path}: expected a PyTorch state dict")
    assert ("found no such file" in message) == (what in ("missing", "folder"))


def test_without_torch_it_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "mine.pth").write_bytes(b"weights")
    with pytest.raises(MissingExtraError, match=r"pip install 'scoread-jax\[torch\]'"):
        weights.read_state_dict(tmp_path / "mine.pth")


# Translating (what the network makes of it is held to the golden values in test_network)


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_come_from_the_shapes(reference_dir, name):
    _, bands, conditional = NETWORKS[name]
    imported = weights.from_state_dict(golden_state(reference_dir, name), conditional=conditional)
    assert (imported.bands, imported.sizes) == (bands, {"hidden": 256, "channels": 16, "embedding": 256})
    assert ("film1_kernel" in imported.variables["params"]) == conditional
    for value in (*imported.variables["params"].values(), *imported.variables["constants"].values()):
        assert value.dtype == np.float32
        assert value.flags["C_CONTIGUOUS"]


def test_arrays_are_laid_out_as_ours(state):
    params = weights.from_state_dict(state, conditional=False).variables["params"]
    np.testing.assert_array_equal(params["fc1_kernel"], np.float32(state["fc1.weight"].T))
    np.testing.assert_array_equal(params["conv2_kernel"][3, 0], np.float32(state["conv2.weight"][:, 0, 3]))
    np.testing.assert_array_equal(params["tconv4_kernel"][1, 2], np.float32(state["tconv4.weight"][2, :, 1]))


def test_a_prefix_of_data_parallel_training_is_dropped(state):
    plain = weights.from_state_dict(state, conditional=False)
    prefixed = weights.from_state_dict({f"module.{name}": value for name, value in state.items()}, conditional=False)
    for name, value in plain.variables["params"].items():
        np.testing.assert_array_equal(prefixed.variables["params"][name], value)


@pytest.mark.parametrize("name", ["fc1.weight", "tconv2.bias", "embed.0.W", "gnorm3.bias", "dense4.dense.weight"])
def test_missing_arrays_are_named(state, name):
    rest = {key: value for key, value in state.items() if key != name}
    message = refused(weights.from_state_dict, rest, conditional=False, source="mine.pth")
    assert message.startswith("mine.pth: expected the parameters of ScoreAD's network")
    assert f"found none called {name!r} among {len(rest)}" in message


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("fc1.weight", lambda value: value[0], "'fc1.weight' with 2 dimensions, found shape (162,)"),
        ("conv3.weight", lambda value: value[:, :, 0], "'conv3.weight' with 3 dimensions"),
        ("fc1.bias", lambda value: value[:-1], "fc1_bias of shape (256,), found (255,)"),
        ("tfc1.weight", lambda value: value[:100], "out_kernel of shape"),
        ("conv4.weight", lambda value: value[:, :, :3], "conv4_kernel of shape"),
        ("embed.0.W", lambda value: value[:-1], "frequencies of shape (128,), found (127,)"),
    ],
)
def test_arrays_of_another_shape_are_named(state, name, change, words):
    message = refused(weights.from_state_dict, state | {name: change(state[name])}, conditional=False, source="x.pth")
    assert message.startswith("x.pth: expected ")
    assert words in message


def test_widths_that_no_network_has_are_refused(state):
    wrong = {name: value[:10] if name == "fc1.weight" else value for name, value in state.items()}
    assert "x.pth" in refused(weights.from_state_dict, wrong, conditional=False, source="x.pth")


def test_numbers_that_are_not_finite_are_refused(state):
    wrong = state | {"fc1.bias": np.full_like(state["fc1.bias"], np.nan)}
    message = refused(weights.from_state_dict, wrong, conditional=False, source="x.pth")
    assert message == "x.pth: expected finite numbers, found NaN or infinity in 'fc1.bias'; get the file again"


def test_a_file_of_another_network_is_refused():
    state = {"layer.weight": np.ones((3, 3))}
    assert "found none called" in refused(weights.from_state_dict, state, conditional=True)
