"""Several processes on one scene, here all on one machine: the map of one, and an error where one is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from scoread_jax import checkpoint, datasets, interrupt, maps, parallel
from scoread_jax.blocks import cut, map_blocks
from scoread_jax.checkpoint import scratch
from scoread_jax.cli import main
from scoread_jax.cube import LazyCube
from scoread_jax.group import Group
from scoread_jax.scene import global_min_max, make_scene, spectra_at

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


def launch(processes, *arguments, command="detect", scenes=None):
    """Start the command in so many processes, each with two devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).resolve().parent.parent
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return [
        subprocess.Popen(
            [
                sys.executable, "-m", "scoread_jax", command, scenes[number] if scenes else "scene.npz",
                "--config", "recipe.toml", "--distributed", "--coordinator", address,
                "--processes", str(processes), "--process-id", str(number), *arguments,
            ],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )
        for number in range(processes)
    ]  # fmt: skip


def ended(running):
    """What became of processes: exit code, standard output and errors of each."""
    done = [(*process.communicate(timeout=240), process.returncode) for process in running]
    return [(code, out, err) for out, err, code in done]


def together(processes, *arguments, **options):
    """Run the command in so many processes; their results in order."""
    return ended(launch(processes, *arguments, **options))


def trains(folder, running):
    """Wait until a training that is kept in a folder is under way."""
    while not (Path(folder) / "train.jsonl").exists() and running[0].poll() is None:
        time.sleep(0.01)


def parameters(folder):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(checkpoint.load(folder).variables)])


def alone(*arguments):
    arguments = "scene.npz", "--config", "recipe.toml", "-o", "alone", "--quiet", "--devices", "1", *arguments
    assert main(["detect", *arguments]) == 0
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


def test_a_trained_detector_is_that_of_one_process_with_as_many_devices(place):
    arguments = "-o", "two", "--quiet", "--train.devices", "2", "--train.epochs", "20"
    found = together(2, *arguments, command="train")
    assert [code for code, _, _ in found] == [0, 0], found[0][2]
    assert found[0][1].startswith("detector: two")
    assert found[1][1] == ""
    one = [sys.executable, "-m", "scoread_jax", "train", "scene.npz", "--config", "recipe.toml", *arguments[2:]]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([*one, "-o", "one"], env=environment, check=True, stdout=subprocess.DEVNULL)
    # Both add up two numbers a gradient.
    np.testing.assert_allclose(parameters("two"), parameters("one"), rtol=0, atol=1e-6)
    assert not np.array_equal(parameters("two"), train_alone("1"))
    assert sorted(os.listdir("two")) == ["arrays", "detector.json", "train.jsonl"]


def train_alone(epochs):
    arguments = ["-o", "alone", "--quiet", "--devices", "1", "--train.epochs", epochs]
    assert main(["train", "scene.npz", "--config", "recipe.toml", *arguments]) == 0
    parallel.use_devices()
    return parameters("alone")


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_with_any_number_of_processes(processes, place, capsys):
    arguments = "-o", "two", "--quiet", "--train.epochs", "600"
    running = launch(2, *arguments, command="train")
    trains("two.run", running)
    running[0].terminate()
    os.killpg(running[1].pid, signal.SIGTERM)  # as a launcher does that signals children too
    found = ended(running)
    assert [code for code, _, _ in found] == [75, 75], found
    assert "--resume two.run goes on from there" in found[0][2]
    assert not Path("two").exists()
    (kept,) = os.listdir("two.run/training")
    assert 0 < int(kept) < 2400
    if processes == 1:
        arguments = ["train", "scene.npz", "--config", "recipe.toml", *arguments, "--resume", "two.run"]
        assert main([*arguments, "--devices", "1"]) == 0
        parallel.use_devices()
    else:
        assert [code for code, _, _ in together(2, *arguments, "--resume", "two.run", command="train")] == [0, 0]
    np.testing.assert_array_equal(parameters("two"), train_alone("600"))
    steps = [json.loads(line)["step"] for line in Path("two/train.jsonl").read_text().splitlines()]
    assert steps == [4 * epoch for epoch in range(1, 601)]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_scoring_that_was_stopped_goes_on_with_any_number_of_processes(processes, place, capsys):
    """Both are told to stop, as a scheduler does it; each keeps the blocks that it has finished."""
    made = datasets.synthetic(rows=60, cols=9, bands=8)
    np.savez("scene.npz", data=made.cube, map=made.truth)
    Path("recipe.toml").write_text(RECIPE.replace("perturbations = 4", "perturbations = 500"))  # to take its time
    arguments = "-o", "two", "--quiet", "--block-rows", "1", "--save-every", "0"
    running = launch(2, *arguments)
    while not (before := scored("two.run")) and running[0].poll() is None:
        time.sleep(0.01)
    for process in running:
        os.killpg(process.pid, signal.SIGTERM)
    found = ended(running)
    assert [code for code, _, _ in found] == [75, 75], found
    assert all("--resume two.run goes on from there" in err for _, _, err in found)
    assert not Path("two").exists()
    kept = scored("two.run")
    assert before <= kept
    assert len(kept) < 60
    assert kept == set(Path("two.run").glob("scoring/network-*/*"))
    if processes == 1:
        goes_on = ["detect", "scene.npz", "--config", "recipe.toml", *arguments, "--resume", "two.run"]
        assert main([*goes_on, "--devices", "1"]) == 0
        parallel.use_devices()
    else:
        assert [code for code, _, _ in together(2, *arguments, "--resume", "two.run")] == [0, 0]
    assert not Path("two.run/scoring").exists()
    np.testing.assert_array_equal(np.load("two/map.npy"), alone("--block-rows", "1"))


def scored(run):
    """Blocks that the network has scored and that are kept, whole."""
    return set(Path(run).glob("scoring/network-*/[0-9]*.npz"))


@pytest.mark.parametrize(("number", "devices"), [(0, "1"), (1, "2")])
def test_a_process_that_dies_while_training_is_an_error_of_the_other(number, devices, place):
    arguments = "-o", "two", "--quiet", "--train.epochs", "100000", "--train.devices", devices
    running = launch(2, *arguments, command="train")
    trains("two.run", running)
    os.killpg(running[number].pid, signal.SIGKILL)
    running.pop(number).communicate()
    ((code, out, err),) = ended(running)
    assert (code, out) == (2, "")
    assert "found that one is gone" in err.splitlines()[-1]
    assert not Path("two").exists()


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


class Thread(threading.Thread):
    """One of several processes, here a thread, which has the rows of a cube that were read noted."""

    def __init__(self, number, meeting, arrays, work):
        super().__init__()
        self.group = Group(number, len(arrays), self.gather)
        self.meeting, self.arrays, self.work, self.read, self.found = meeting, arrays, work, [], None

    def gather(self, array):
        """Wait for the others."""
        self.arrays[self.group.number] = array
        self.meeting.wait(60)
        found = np.stack(self.arrays)
        self.meeting.wait(60)
        return found

    def run(self):
        """Do the work."""
        self.found = self.work(self)


def in_threads(count, work):
    meeting, arrays = threading.Barrier(count), [None] * count
    threads = [Thread(number, meeting, arrays, work) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return threads


@pytest.mark.parametrize("count", [2, 3, 20])
def test_every_process_reads_its_own_rows(count, monkeypatch):
    """Twelve rows; some values decide late, and far from where they lie, whether other pixels count."""
    cube = np.random.default_rng(0).random((12, 40, 9), np.float32) + 1
    cube[:9, :, 3] = 0  # a band that shows its first value in the last rows
    cube[0, 0], cube[5, 1], cube[11, 2] = 0, -9, np.nan
    whole = make_scene(cube)
    wanted = np.arange(0, whole.pixels, 7)
    expected = spectra_at(whole, global_min_max(whole), wanted)

    def work(thread):
        def read(start, stop):
            thread.read.append((start, stop))
            return cube[start:stop]

        image = make_scene(LazyCube(cube.shape, cube.dtype, read), group=thread.group)
        thread.surveyed, thread.read = thread.read, []
        spectra = maps.Spectra(image, global_min_max(image), None)
        return image, spectra.shared_at(wanted)

    monkeypatch.setattr(parallel, "group", lambda: threading.current_thread().group)
    monkeypatch.setattr("scoread_jax.cube._BLOCK_VALUES", 2 * 40 * 9)
    threads = in_threads(count, work)
    for thread in threads:
        image, found = thread.found
        for name in ("valid", "good_bands", "low", "high"):
            np.testing.assert_array_equal(getattr(image, name), getattr(whole, name))
        assert image.notes == whole.notes
        np.testing.assert_array_equal(found, expected)
    surveyed = [{row for start, stop in thread.surveyed for row in range(start, stop)} for thread in threads]
    assert sorted(row for rows in surveyed for row in rows) == list(range(12))
    sampled = [{row for start, stop in thread.read for row in range(start, stop)} for thread in threads]
    assert max(map(len, sampled)) <= 12 // count + 2


def test_processes_stop_together_while_they_score(tmp_path, monkeypatch):
    """One is asked in its first block; the other has done its share by then, and keeps it."""
    valid = np.ones((6, 2), bool)
    blocks = cut(valid, 1, 0)
    monkeypatch.setattr(parallel, "group", lambda: threading.current_thread().group)

    def work(thread):
        stop = interrupt.Stop()
        stop.requested = 0 if thread.group.number else signal.SIGTERM
        keep = scratch.Scratch(tmp_path, lambda leaves: leaves[0], 1e9, stop, "go on", print)
        with pytest.raises(interrupt.Interrupted, match="go on"):
            map_blocks(blocks, lambda block: None, lambda block, _: np.zeros(2), lambda done, of: None, keep)
        return sorted(os.listdir(tmp_path))

    in_threads(2, work)
    assert sorted(os.listdir(tmp_path)) == ["0-1.npz", "3-4.npz", "4-5.npz", "5-6.npz"]


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
            shares = [Group(number, of).share(range(count)) for number in range(of)]
            assert all(len(part) >= 1 for part in shares)
            if count >= of:
                assert [entry for part in shares for entry in part] == list(range(count))
