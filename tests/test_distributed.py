"""Several processes on one scene, here all on one machine: the map of one, and an error where one is gone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scoread_jax import datasets, parallel
from scoread_jax.cli import main
from scoread_jax.parallel import Rank

RECIPE = """
[network]
name = "mlp"
hidden = 8
blocks = 1
embedding = 4
[train]
epochs = 2
batch_size = 32
drop = 0.1
[detect]
times = 0.05
perturbations = 4
[closed_form]
views = ["root"]
nearest_inner = 1
nearest_outer = 3
neighbours = 2
gaussian_inner = 1
gaussian_outer = 5
[fusion]
members = ["network", "ring_nearest", "scene_nearest"]
weights = [1, 1, 1]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = datasets.synthetic(rows=13, cols=9, bands=8)
    np.savez("scene.npz", data=made.cube, map=made.truth)
    Path("recipe.toml").write_text(RECIPE)
    return tmp_path


def together(processes, *arguments, scenes=None):
    """Run the command in so many processes; their results in order."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).resolve().parent.parent
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    running = [
        subprocess.Popen(
            [
                sys.executable, "-m", "scoread_jax.cli", "detect", scenes[number] if scenes else "scene.npz",
                "--config", "recipe.toml", "--distributed", "--coordinator", address,
                "--processes", str(processes), "--process-id", str(number), *arguments,
            ],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    done = [(*process.communicate(timeout=240), process.returncode) for process in running]
    return [(code, out, err) for out, err, code in done]


def alone():
    assert main(["detect", "scene.npz", "--config", "recipe.toml", "-o", "alone", "--quiet", "--devices", "1"]) == 0
    parallel.use_devices()
    return np.load("alone/map.npy")


def test_two_processes_have_the_map_of_one(place, capsys):
    first, second = together(2, "-o", "two", "--json")
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert json.loads(first[1])["folder"] == "two"
    assert second[1] == ""
    assert "training" not in second[2]
    np.testing.assert_array_equal(np.load("two/map.npy"), alone())


@pytest.mark.slow
def test_four_processes_have_the_map_of_one(place, capsys):
    found = together(4, "-o", "four", "--quiet")
    assert [code for code, _, _ in found] == [0] * 4
    np.testing.assert_array_equal(np.load("four/map.npy"), alone())


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["jit", "shard_map"])
def test_gradients_are_averaged_over_processes(strategy, place, capsys):
    found = together(2, "-o", "two", "--quiet", "--train.devices", "2", "--strategy", strategy)
    assert [code for code, _, _ in found] == [0, 0], found[0][2]
    np.testing.assert_allclose(np.load("two/map.npy"), alone(), atol=1e-4)


def test_a_process_that_is_gone_is_an_error_and_leaves_nothing(place):
    first, second = together(2, "-o", "out", "--quiet", scenes=["scene.npz", "nowhere.npz"])
    assert second[0] == 2
    assert "nowhere.npz: expected a file" in second[2]
    assert (first[0], first[1]) == (2, "")
    said = [line for line in first[2].splitlines() if line.startswith("scoread: error: ")]
    assert len(said) == 1
    assert "found that one is gone" in said[0]
    assert "start all of them again" in said[0]
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--coordinator", "x:1"), "expect --distributed beside them"),
        (("--distributed", "--coordinator", "x"), "--coordinator must be HOST:PORT of process 0, found 'x'"),
        (("--distributed", "--coordinator", "x:1"), "--coordinator expects --processes and --process-id beside it"),
        (("--distributed", "--processes", "2", "--process-id", "1"), "--processes expects --coordinator HOST:PORT"),
        (("--distributed", "--processes", "2", "--process-id", "2"), "--process-id must be in [0, 2) (--processes)"),
    ],
)
def test_refused(arguments, words, place, capfd):
    assert main(["detect", "scene.npz", "-o", "out", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_shares_are_everything_once():
    for count in (1, 2, 5, 9):
        for of in (1, 2, 4):
            shares = [parallel.share(range(count), Rank(number, of)) for number in range(of)]
            assert all(len(part) >= 1 for part in shares)
            if count >= of:
                assert [entry for part in shares for entry in part] == list(range(count))
