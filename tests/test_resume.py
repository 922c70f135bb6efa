"""Runs that were stopped: they go on bit for bit, from the newest step that is whole, and never two at one place."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoread_jax import checkpoint, config, interrupt, pipeline, train
from scoread_jax.checkpoint import arrays, scratch, seal, steps
from scoread_jax.commands import shared
from scoread_jax.config import TrainConfig
from scoread_jax.errors import CheckpointError, ConfigError, ScoreADError, TrainingError
from scoread_jax.execution import Execution
from scoread_jax.io import lock
from scoread_jax.scene import make_scene

SMALL = {
    "network.hidden": 8, "network.blocks": 1, "network.embedding": 4, "view.components": 4, "train.steps": 12,
    "train.batch_size": 16, "detect.perturbations": 2, "detect.times": [0.8], "closed_form.components": 4,
    "closed_form.nearest_inner": [1], "closed_form.nearest_outer": [5], "closed_form.neighbours": [3],
    "closed_form.gaussian_inner": [3], "closed_form.gaussian_outer": [9], "closed_form.gaussian_components": 3,
    "closed_form.scene_references": 64, "closed_form.scene_neighbours": 3,
}  # fmt: skip
RECIPE = config.replace(config.load("demo"), SMALL)


ROWS = 3


def made(seed=0):
    rng = np.random.default_rng(seed)
    return make_scene(rng.normal(size=(10, 9, 6)).cumsum(axis=2).astype(np.float32) + 3, name=f"made{seed}")


class Told(list):
    """Remembers what was said."""

    def __call__(self, text):
        """Hear it."""
        self.append(text)


class StopAt:
    """Asks for the end, as a signal does, at some step of the training."""

    def __init__(self, step):
        self.step = step

    def __call__(self, progress):
        """Hear how far it is."""
        if progress.step >= self.step:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    """Save points in the middle of an epoch of six steps."""
    monkeypatch.setattr(train, "STEPS_AT_ONCE", 4)


@pytest.fixture(scope="module")
def whole():
    return pipeline.detect(made(), RECIPE)


def same(found, expected):
    (detector, anomaly_map), (other, other_map) = found, expected
    for mine, theirs in zip(jax.tree.leaves(detector.variables), jax.tree.leaves(other.variables), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)
    np.testing.assert_array_equal(anomaly_map, other_map, strict=True)


def detected(run, image=None, recipe=RECIPE, callback=None):
    return pipeline.detect(image or made(), recipe, callback, execution=Execution(keeper=run))


def scored(run, detector, image=None, rows=None):
    return pipeline.score(detector, image or made(), Execution(rows=rows, keeper=run))


def stopped(folder, step, image=None, recipe=RECIPE):
    """A run that a signal stopped."""
    run = checkpoint.Run(folder)
    with pytest.raises(interrupt.Interrupted, match=rf"stopped at step \d+; .*--resume {folder}"):
        detected(run, image, recipe, StopAt(step))
    return run.kept


# Going on


@pytest.mark.parametrize("step", [1, 4, 5, 6, 12])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, whole, step):
    """In the middle of an epoch, at its end, and at the very end."""
    kept = stopped(tmp_path / "run", step)
    assert kept == next(end for end in (4, 6, 10, 12) if end >= step)
    told = Told()
    run = checkpoint.Run(tmp_path / "run", say=told)
    same(detected(run), whole)
    assert told == [f"going on from step {kept}"]


STOPPED_ON_EIGHT_DEVICES = """
import json, signal, jax
from scoread_jax import checkpoint, config, interrupt, pipeline, train
from scoread_jax.execution import Execution
from tests.test_resume import RECIPE, StopAt, made

train.STEPS_AT_ONCE = 4
run = checkpoint.Run({folder!r})
try:
    recipe = config.replace(RECIPE, {{"train.devices": 8}})
    pipeline.detect(made(), recipe, StopAt(6), execution=Execution(keeper=run))
except interrupt.Interrupted:
    print(json.dumps([run.kept, jax.device_count()]))
"""


def test_a_run_on_eight_devices_goes_on_on_one(tmp_path, whole, on_eight_devices):
    """Gradients are summed in another order: the last bits differ, and Adam makes a little more of them.

    Nothing that is kept says which kind of device it was on, so another kind is no obstacle.
    """
    assert on_eight_devices(STOPPED_ON_EIGHT_DEVICES.format(folder=str(tmp_path / "run"))) == [6, 8]
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    arrays = [path for path in files if path.suffix == ".npy"]
    assert arrays
    for path in arrays:
        assert not np.load(path, allow_pickle=False).dtype.hasobject
    for path in set(files) - set(arrays):
        assert not re.search("cpu|gpu|cuda|tpu|sharding|device_kind", path.read_text(encoding="utf-8").lower()), path
    told = Told()
    detector, anomaly_map = detected(checkpoint.Run(tmp_path / "run", say=told))
    assert told == ["going on with train.devices = 1 instead of 8", "going on from step 6"]
    for mine, theirs in zip(jax.tree.leaves(detector.variables), jax.tree.leaves(whole[0].variables), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(anomaly_map, whole[1], rtol=1e-4, atol=1e-4)


def test_a_run_may_be_stopped_again_and_again(tmp_path, whole):
    for step in (4, 6, 10):
        assert stopped(tmp_path, step) == step
    assert sorted(os.listdir(tmp_path / "training")) == ["10", "4", "6"]
    same(detected(checkpoint.Run(tmp_path)), whole)


def test_keeping_changes_nothing_and_keeps_the_newest(tmp_path, whole):
    run = checkpoint.Run(tmp_path / "run", every=0)
    same(detected(run), whole)
    assert run.kept >= 4  # one that is due while another is being written is left out
    assert 1 <= len(os.listdir(tmp_path / "run" / "training")) <= steps.STEPS_KEPT
    same(detected(checkpoint.Run(tmp_path / "run")), whole)
    run.finished(keep_training=True)
    assert os.listdir(tmp_path / "run") == ["training"]
    run.finished(keep_training=False)
    assert os.listdir(tmp_path) == []


def test_short_runs_leave_nothing(tmp_path, whole):
    run = checkpoint.Run(tmp_path / "run")
    same(detected(run), whole)
    assert os.listdir(tmp_path) == []


def test_a_fresh_run_begins_anew_and_replaces_the_other(tmp_path, whole):
    stopped(tmp_path, 10)
    seen = []
    run = checkpoint.Run(tmp_path, every=0, fresh=True)
    same(
        detected(run, callback=lambda progress: seen.append(progress.step)),
        whole,
    )
    assert seen == [4, 6, 10, 12]
    assert max(map(int, os.listdir(tmp_path / "training"))) == run.kept


def test_the_moving_average_goes_on_too(tmp_path):
    recipe = config.replace(RECIPE, {"train.ema_decay": 0.9, "train.clip_norm": 1.0})
    expected = pipeline.detect(made(), recipe)
    stopped(tmp_path, 5, recipe=recipe)
    same(detected(checkpoint.Run(tmp_path), recipe=recipe), expected)


@pytest.mark.parametrize("step", [5, 6, 9])
def test_patience_goes_on_too(tmp_path, step):
    """What was best so far, and for how long, is part of what is kept; in the middle of an epoch too."""
    recipe = config.replace(RECIPE, {"train.patience": 2, "train.steps": 60, "train.learning_rate": 0.3})
    expected = pipeline.detect(made(), recipe)
    stopped(tmp_path, step, recipe=recipe)
    same(detected(checkpoint.Run(tmp_path), recipe=recipe), expected)


def test_what_is_kept(tmp_path):
    stopped(tmp_path, 5)
    kept, skipped = checkpoint.latest_valid(tmp_path)
    assert skipped == []
    assert kept.step == 6 == int(kept.state["step"])
    assert kept.config == RECIPE
    assert kept.chosen.dtype == np.int32
    assert kept.view.basis.shape == (6, 4)
    assert jax.dtypes.issubdtype(kept.key.dtype, jax.dtypes.prng_key)
    assert {path.split(".")[0] for path in kept.state} == {"params", "constants", "optimizer_state", "step"}
    record = json.loads((tmp_path / "training" / "6" / "step.json").read_text())
    assert record["format"] == steps.FORMAT
    assert record["bands"]["good"] == list(range(6))
    assert record["bands"]["scale"] > 0
    assert record["scene"]["name"] == "made0"


def test_a_scene_is_scored_from_the_block_where_it_stopped(tmp_path, whole):
    detector, expected = whole
    folder = tmp_path / "run"

    class Counting(scratch.Scratch):
        computed = 0

        def done(self, block, part):
            Counting.computed += 1
            if (
                Counting.computed == 10
            ):  # four blocks of the neighbours and of the surroundings each, two of the network
                signal.raise_signal(signal.SIGINT)
            return super().done(block, part)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scratch, "Scratch", Counting)
        with pytest.raises(interrupt.Interrupted, match=r"stopped after row 6; .*--resume"):
            scored(checkpoint.Run(folder, every=1e9), detector, rows=ROWS)
        assert len(list(folder.glob("scoring/network-*/*.npz"))) == 2
        run = checkpoint.Run(folder, every=0)
        np.testing.assert_array_equal(scored(run, detector, rows=ROWS), expected, strict=True)
        assert Counting.computed == 10 + 8 + 2
    run.finished(keep_training=False)
    assert os.listdir(tmp_path) == []


def test_damaged_blocks_are_done_again(tmp_path, whole):
    detector, expected = whole
    scored(checkpoint.Run(tmp_path, every=0), detector, rows=ROWS)
    found = sorted(tmp_path.glob("scoring/*/*.npz"))
    assert len(found) == 12
    for number, path in enumerate(found):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes([content, content[:20], b""][number % 3])
    again = scored(checkpoint.Run(tmp_path), detector, rows=ROWS)
    np.testing.assert_array_equal(again, expected, strict=True)


def test_blocks_of_another_scene_or_detector_are_not_taken(tmp_path, whole):
    detector, _ = whole
    other = dataclasses.replace(detector, variables=jax.tree.map(lambda leaf: leaf * 1.1, detector.variables))
    scored(checkpoint.Run(tmp_path, every=0), detector, made())
    for one, image in ((detector, made(1)), (other, made())):
        found = scored(checkpoint.Run(tmp_path, every=0), one, image)
        np.testing.assert_array_equal(found, pipeline.score(one, image), strict=True)


# What may not go on


def test_another_scene_is_refused(tmp_path):
    stopped(tmp_path, 4)
    with pytest.raises(ConfigError, match=r"expected the scene that this run was started on \(made0\).*made1"):
        detected(checkpoint.Run(tmp_path), made(1))


def test_another_configuration_is_refused_where_it_matters(tmp_path):
    stopped(tmp_path, 4)
    with pytest.raises(ConfigError, match=r"train\.batch_size = 16, found 15; give that, or another directory"):
        pipeline.detect(
            made(),
            config.replace(RECIPE, {"train.batch_size": 15}),
            execution=Execution(keeper=checkpoint.Run(tmp_path)),
        )
    told = Told()
    slower = config.replace(RECIPE, {"train.learning_rate": 1e-4, "train.clip_norm": 1.0})
    detected(checkpoint.Run(tmp_path, say=told), recipe=slower)
    assert told[:2] == [
        "going on with train.clip_norm = 1.0 instead of 0.0",
        "going on with train.learning_rate = 0.0001 instead of 0.002",
    ]


def test_another_network_is_refused(tmp_path):
    stopped(tmp_path, 4)
    kept, _ = checkpoint.latest_valid(tmp_path)
    state = train.init_state({"params": {"other": jnp.zeros(3)}, "constants": {}}, TrainConfig(), 16)
    with pytest.raises(CheckpointError, match=r"step 4: expected .* of shape .*give the network"):
        kept.restore(state)


def test_somebody_elses_directory_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CheckpointError, match=r"found thesis\.tex in it; choose"):
        checkpoint.Run(tmp_path)
    with pytest.raises(CheckpointError, match="Not a directory; choose"):
        checkpoint.Run(tmp_path / "thesis.tex")


# Divergence and trouble


def test_divergence_leaves_the_last_good_step(tmp_path):
    recipe = config.replace(RECIPE, {"train.learning_rate": 1e30, "train.warmup": 0.5, "train.steps": 24})
    with pytest.raises(TrainingError, match=r"not finite at step \d+ .*train\.learning_rate") as caught:
        detected(checkpoint.Run(tmp_path, every=0), recipe=recipe)
    kept, skipped = checkpoint.latest_valid(tmp_path)
    assert (kept is None) == ("--resume" not in str(caught.value))
    assert skipped == []
    if kept is not None:
        assert all(np.isfinite(leaf).all() for leaf in kept.state.values())


def test_parameters_that_are_not_finite_are_not_kept(tmp_path):
    stopped(tmp_path, 4)
    kept, _ = checkpoint.latest_valid(tmp_path)
    bad = {path: leaf * np.nan if leaf.dtype == np.float32 else leaf for path, leaf in kept.state.items()}
    writer = steps.Writer(tmp_path, after=4)
    with pytest.raises(CheckpointError, match="finite"):
        writer.start(kept._replace(step=5, state=bad)).result()
    writer.close()
    assert os.listdir(tmp_path / "training") == ["4"]


def test_a_step_that_cannot_be_written_is_told(tmp_path, whole, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(steps.seal, "write", full)
    told = Told()
    same(
        pipeline.detect(
            made(), RECIPE, execution=Execution(keeper=checkpoint.Run(tmp_path / "run", every=0, say=told))
        ),
        whole,
    )
    assert "No space left on device; the training goes on without" in told[0]
    assert list((tmp_path / "run" / "training").iterdir()) == []
    with pytest.raises(CheckpointError, match="No space left"):
        detected(checkpoint.Run(tmp_path / "run"), callback=StopAt(4))


# Damage


def spoil_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil", [spoil_bit, lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])]
)
def test_damaged_steps_are_skipped_by_name(tmp_path, spoil):
    for step in (4, 6):
        stopped(tmp_path / "run", step)
    files = [path for path in sorted((tmp_path / "run/training/6").rglob("*")) if path.is_file()]
    assert {"arrays.npy", "step.json"} <= {path.name for path in files}
    for path in files:
        if not path.stat().st_size:
            continue
        copy = shutil.copytree(tmp_path / "run", tmp_path / "copy")
        spoil(copy / path.relative_to(tmp_path / "run"))
        kept, skipped = checkpoint.latest_valid(copy)
        assert kept.step == 4
        assert len(skipped) == 1
        assert skipped[0].startswith(f"step 6 is skipped: {copy / 'training' / '6'}")
        shutil.rmtree(copy)


def test_a_run_goes_on_over_damaged_steps(tmp_path, whole):
    for step in (4, 6):
        stopped(tmp_path, step)
    shutil.rmtree(tmp_path / "training/6/default")
    (tmp_path / "training/8").mkdir()
    (tmp_path / "training/9.orbax-checkpoint-tmp").mkdir()
    told = Told()
    run = checkpoint.Run(tmp_path, every=0, say=told)
    same(detected(run), whole)
    assert [text.split(":")[0] for text in told] == ["step 8 is skipped", "step 6 is skipped", "going on from step 4"]
    assert checkpoint.latest_valid(tmp_path)[0].step == run.kept > 4
    assert {"8", "9.orbax-checkpoint-tmp"}.isdisjoint(os.listdir(tmp_path / "training"))


def test_no_step_that_is_whole(tmp_path):
    stopped(tmp_path, 4)
    (tmp_path / "training/4/step.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"expected a training step that is whole, found none \(step 4.*anew"):
        checkpoint.latest_valid(tmp_path)
    assert checkpoint.latest_valid(tmp_path / "nothing") == (None, [])


def test_a_run_that_died_while_it_wrote_its_first_step_begins_anew(tmp_path, whole):
    stopped(tmp_path, 4)
    (tmp_path / "training/4/step.json").unlink()
    told = Told()
    same(detected(checkpoint.Run(tmp_path, every=0, say=told)), whole)
    assert len(told) == 1
    assert told[0].startswith("step 4 is skipped")
    assert told[0].endswith("the training begins anew")


@pytest.mark.parametrize(
    ("number", "as_written"),
    [(1, lambda tree: tree), (2, lambda tree: {"bytes": arrays.packed(tree)})],
    ids=["every array by itself", "one array by Orbax"],
)
def test_steps_of_older_formats_are_read(tmp_path, number, as_written):
    stopped(tmp_path, 5)
    expected, _ = checkpoint.latest_valid(tmp_path)
    place = tmp_path / "training/6"
    record = json.loads((place / "step.json").read_text()) | {"format": number}
    tree = arrays.read(place / "default", record["arrays"], arrays.unpacked)
    shutil.rmtree(place / "default")
    arrays.write(place / "default", as_written(tree))
    del record["sha256"]
    seal.write(place, "step.json", record)
    kept, skipped = checkpoint.latest_valid(tmp_path)
    assert skipped == []
    jax.tree.map(np.testing.assert_array_equal, kept.state, expected.state)
    np.testing.assert_array_equal(kept.chosen, expected.chosen)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (np.zeros(7, np.uint8), r"uint8 \[7\] for \d+ bytes"),
        (np.zeros(3, np.float32), r"float32 \[3\] for \d+ bytes"),
        (np.array([{}]), "found that it does not"),
    ],
    ids=["short", "of another type", "pickled"],
)
def test_a_step_whose_arrays_are_others_is_refused(tmp_path, content, found):
    """By a stranger who can write a seal."""
    stopped(tmp_path, 4)
    place = tmp_path / "training/4"
    np.save(place / "default/arrays.npy", content)
    record = json.loads((place / "step.json").read_text())
    del record["sha256"]
    seal.write(place, "step.json", record)
    with pytest.raises(CheckpointError, match=found):
        checkpoint.latest_valid(tmp_path)


def test_steps_of_a_newer_format_are_named(tmp_path):
    stopped(tmp_path, 4)
    path = tmp_path / "training/4/step.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 4}))
    with pytest.raises(CheckpointError, match="expected step format 1 or 2 or 3, found 4; use the scoread_jax that"):
        checkpoint.latest_valid(tmp_path)


# Signals


def test_the_first_signal_asks_and_a_late_one_is_heard(capsys):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored

    def work():
        with interrupt.deferred() as stop:
            assert stop.requested == 0
            signal.raise_signal(signal.SIGINT)
            assert stop.requested == signal.SIGINT

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "once more to stop at once" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_signal_ends_at_once():
    code = (
        "import signal, time\nfrom scoread_jax import interrupt\nwith interrupt.deferred():\n signal.raise_signal(15)\n"
        " signal.raise_signal(15)\n print('its echo', flush=True)\n time.sleep(1.1)\n"
        " signal.raise_signal(15)\n print('still here')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (ended.returncode, ended.stdout) == (128 + 15, "its echo\n")


def test_other_threads_hear_no_signals():
    found = []

    def work():
        with interrupt.deferred() as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]


# Locks


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    with lock(tmp_path / "a") as held, lock(tmp_path / "a") as again, lock(tmp_path / "b") as other:
        assert (held, again, other) == (True, False, True)
    with lock(tmp_path / "a") as held:
        assert held
    assert os.listdir(tmp_path) == []


def test_a_dead_process_holds_no_lock(tmp_path):
    code = f"import os\nfrom scoread_jax.io import lock\nwith lock({str(tmp_path / 'a')!r}): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 9
    assert os.listdir(tmp_path) == ["a"]
    with lock(tmp_path / "a") as held:
        assert held
    assert os.listdir(tmp_path) == []


def test_two_runs_at_one_place_are_refused(tmp_path):
    with shared.alone(tmp_path / "out"):
        with pytest.raises(ScoreADError, match="out: expected no other run there"), shared.alone(tmp_path / "out"):
            pass
        with shared.alone(tmp_path / "other"):
            pass
    assert os.listdir(tmp_path) == []
