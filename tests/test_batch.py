"""Batches: nothing twice, nothing stopped by one scene, nothing lost with a process."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scoread_jax import batch, config, datasets, parallel, workers
from scoread_jax.cli import main
from scoread_jax.errors import ConfigError, SceneError
from scoread_jax.io import lock

# Closed form only, small rings: a second to compile.
RECIPE = """
[closed_form]
views = ["root"]
nearest_inner = 1
nearest_outer = 3
neighbours = 2
gaussian_inner = 1
gaussian_outer = 5
[fusion]
members = "scene_nearest"
weights = 1
"""


def scoread(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder with three scenes, one of them damaged, and a list of four."""
    monkeypatch.chdir(tmp_path)
    made = datasets.synthetic(rows=9, cols=8, bands=8)
    Path("data").mkdir()
    for number in range(2):
        np.savez(f"data/scene{number}.npz", data=made.cube + number, map=made.truth)
    Path("data/bad.npz").write_bytes(b"x")
    Path("data/list.txt").write_text("# an archive\nscene[01].npz\nbad.npz # cut short\nnowhere.mat\nscene0.npz\n")
    Path("recipe.toml").write_text(RECIPE)
    return tmp_path


def test_a_batch_and_a_second_one(archive):
    command = ("batch", "data/list.txt", "-o", "out", "--config", "recipe.toml")
    code, out, err = scoread(*command)
    assert code == 1
    assert "2 of 4 scenes done: out/summary.csv" in out
    assert "2 failed:\n  data/bad.npz: expected a NumPy file" in out
    assert "  data/nowhere.mat: expected a file, found nothing there" in out
    assert "[4/4]" in err
    with open("out/summary.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done", "done", "failed", "failed"]
    record = json.loads(Path("out/scene1/result.json").read_text())
    assert float(rows[1]["auc"]) == record["metrics"]["auc"]
    assert "expected a NumPy file" in rows[2]["reason"]
    assert os.listdir("out/bad") == ["failure.json"]

    # What is missing, and only that: a mended scene, one whose result is gone, one whose data changed.
    maps = {number: os.stat(f"out/scene{number}/map.npy").st_mtime_ns for number in range(2)}
    Path("data/bad.npz").write_bytes(Path("data/scene1.npz").read_bytes())
    Path("out/scene1/result.json").unlink()
    code, out, err = scoread(*command, "--json")
    assert code == 1
    assert "data/scene0.npz: unchanged" in err
    assert [row["status"] for row in json.loads(out)["scenes"]] == ["done", "done", "done", "failed"]
    assert os.stat("out/scene0/map.npy").st_mtime_ns == maps[0]
    assert os.stat("out/scene1/map.npy").st_mtime_ns > maps[1]
    assert not Path("out/bad/failure.json").exists()


def test_every_process_keeps_to_its_memory(archive):
    command = ("batch", "data/scene0.npz", "-o", "out", "--config", "recipe.toml", "--max-memory", "1MiB")
    code, out, _ = scoread(*command)
    assert code == 1
    assert "the memory limit must be at least" in out
    assert "found 1 MiB" in out


def test_a_complete_result_is_of_this_scene_configuration_and_detector(archive):
    from scoread_jax import pipeline, results
    from scoread_jax.io import read_scene

    recipe, image = config.load("recipe.toml"), read_scene("data/scene0.npz")
    (task,) = batch.tasks(["data/scene0.npz"], Path("out"))
    assert not batch.is_complete(task, image, recipe, "")
    results.write(results.in_folder(task.folder, None), image, pipeline.detect(image, recipe)[1], recipe, 1.0)
    assert batch.is_complete(task, image, recipe, "")
    assert not batch.is_complete(task, image, recipe, "another detector")
    assert not batch.is_complete(task, image, config.replace(recipe, {"seed": 1}), "")
    assert not batch.is_complete(task, read_scene("data/scene1.npz"), recipe, "")
    (task.folder / "result.json").write_text("{}")
    assert not batch.is_complete(task, image, recipe, "")


def test_two_batches_do_not_meet(archive):
    (task,) = batch.tasks(["data/scene0.npz"], Path("out"))
    with lock(task.lock) as held:
        assert held
        code, out, err = scoread("batch", "data/scene0.npz", "-o", "out", "--config", "recipe.toml")
    assert code == 0
    assert "data/scene0.npz: busy: another process works on it" in err
    assert "0 of 1 scenes done" in out
    assert "1 left to other processes, 1 in work there" in out
    assert not task.folder.exists()


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    hold = "import sys, time, scoread_jax.io as io\nwith io.lock(sys.argv[1]): print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with lock(path) as held:
            assert not held
        holder.kill()
    with lock(path) as held:
        assert held


def test_lists_patterns_and_names(archive):
    Path("data/more").mkdir()
    Path("data/more/scene0.npz").write_bytes(b"")
    found = batch.tasks(["data/list.txt", "data/**/*.npz", "hydice"], Path("out"))
    assert [task.scene for task in found] == [
        "data/scene0.npz", "data/scene1.npz", "data/bad.npz", "data/nowhere.mat", "data/more/scene0.npz", "hydice",
    ]  # fmt: skip
    names = [task.folder.name for task in found]
    assert names[1:4] == ["scene1", "bad", "nowhere"]
    assert names[0].startswith("scene0-")
    assert len(set(names)) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.txt",), ("nowhere.txt: expected a text file", "No such file")),
        (("data/*.tif",), ("data/*.tif: expected files that match, found none",)),
        (("empty.txt",), ("empty.txt: expected a list of scenes", "found none")),
        (("data/bad.npz", "--jobs", "0"), ("--jobs must be 1 or more, found 0",)),
        (("data/bad.npz", "--config", "best"), ("no preset called 'best'",)),
        (("data/bad.npz", "-d", "nowhere"), ("nowhere: expected a detector",)),
        (("data/bad.npz", "-d", "x", "--train.epochs", "3"), ("found --train.epochs beside it",)),
        (("data/bad.npz", "--devices", "4096"), ("--devices must be at most",)),
        (("data/bad.npz", "--distributed"), ("found no SLURM_PROCID", "--processes N --process-id I")),
        (("data/bad.npz", "--processes", "2"), ("--processes expects --process-id beside it",)),
        (("data/bad.npz", "--processes", "2", "--process-id", "2"), ("--process-id must be in [0, 2)", "found 2")),
    ],
)
def test_refused_before_anything_is_done(arguments, words, archive, monkeypatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    Path("empty.txt").write_text("# nothing\n")
    code, out, err = scoread("batch", *arguments, "-o", "out")
    assert (code, out) == (2, "")
    assert err.startswith("scoread: error: ")
    assert all(word in err for word in words)
    assert not Path("out").exists()


def test_ranks(monkeypatch):
    assert parallel.rank(False, None, None) == (0, 1)
    assert parallel.rank(True, 4, 3) == (3, 4)
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_NTASKS", "5")
    assert parallel.rank(True, None, None) == (2, 5)
    with pytest.raises(ConfigError, match="--process-id expects --processes"):
        parallel.rank(False, None, 0)


def test_every_rank_has_its_share_and_the_last_sees_all(archive):
    Path("data/bad.npz").unlink()
    command = ("batch", "data/*.npz", "-o", "out", "--config", "recipe.toml", "--processes", 2, "--process-id")
    code, out, _ = scoread(*command, 1)
    assert code == 0
    assert "1 of 2 scenes done" in out
    assert "1 left to other processes" in out
    code, out, _ = scoread(*command, 0)
    assert code == 0
    assert "2 of 2 scenes done" in out


# Processes


def work(task):
    """What a worker of these tests does."""
    match task:
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "take long":
            time.sleep(60)
    return task, os.getpid()


def begin(number):
    assert number in (0, 1)


def test_a_process_that_dies_takes_nothing_along():
    tasks = ["a", "be killed", "b", "exit", "c", "d"]
    found = dict(workers.spread(work, tasks, 2, begin))
    assert set(found) == set(tasks)
    assert "killed" in found["be killed"].reason
    assert "--jobs" in found["be killed"].reason
    assert found["exit"] == workers.Died("its process ended with code 3")
    done = [found[task] for task in "abcd"]
    assert [task for task, _ in done] == list("abcd")
    assert os.getpid() not in {process for _, process in done}


def test_a_process_that_is_started_ahead():
    with workers.started(work, begin) as hand_out:
        task, process = hand_out("a")()
        assert (task, hand_out("b")()[1]) == ("a", process)
        assert process != os.getpid()
        assert hand_out("exit")() == workers.Died("its process ended with code 3")
        assert isinstance(hand_out("c")(), workers.Died)


def test_who_stops_waiting_ends_the_process():
    usual = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with workers.started(work, begin) as hand_out:
            _, process = hand_out("a")()
            result = hand_out("take long")
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                result()
            with pytest.raises(ProcessLookupError):
                os.kill(process, 0)
    finally:
        signal.signal(signal.SIGALRM, usual)


COPIED = """
import os
from scoread_jax import workers
here, loaded = os.getpid(), object()
def work(task):
    return os._exit(task) if task else (os.getppid() == here, id(loaded))
with workers.started(work, copied=True) as hand_out:
    assert hand_out(0)() == (True, id(loaded))
    assert hand_out(3)() == workers.Died("its process ended with code 3")
"""


@pytest.mark.skipif(not workers.can_be_copied(), reason="processes are not copied on this system")
def test_a_process_that_is_a_copy_has_what_is_loaded():
    done = subprocess.run([sys.executable, "-c", COPIED], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_who_stops_listening_stops_the_processes():
    found = workers.spread(work, ["a", "take long"], 2)
    assert next(found)[0] == "a"
    start = time.monotonic()
    found.close()
    assert time.monotonic() - start < 30


def test_a_dead_process_is_a_failed_scene(archive, monkeypatch):
    def spread(work, tasks, jobs, begin):
        yield tasks[0], workers.Died("its process was killed")

    monkeypatch.setattr(workers, "spread", spread)
    code, out, _ = scoread("batch", "data/scene0.npz", "-o", "out", "--config", "recipe.toml")
    assert code == 1
    assert "1 failed:\n  data/scene0.npz: its process was killed" in out


def test_a_list_that_is_no_text(archive):
    Path("list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SceneError, match="expected a text file, one scene a line, found: no text"):
        batch.tasks(["list.txt"], Path("out"))
