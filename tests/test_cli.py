"""The command line in process: what it writes, what it prints, and one sentence for everything that is wrong."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.io
from PIL import Image

import scoread_jax
from scoread_jax import config, datasets, metrics, pipeline, results, tracking
from scoread_jax import scene as scenes
from scoread_jax.cli import main
from scoread_jax.io import read_scene

ROWS, COLS, BANDS = 12, 10, 8
MASKED = (slice(0, 1), slice(3, 5))

TINY = """seed = 3
[network]
hidden = 16
channels = 4
embedding = 4
[train]
epochs = 2
batch_size = 32
learning_rate = 1e-3
[detect]
times = [0.05]
perturbations = 4
"""


class Run(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


def scoread(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Run(code, out.getvalue(), err.getvalue())


def done(*arguments):
    run = scoread(*arguments)
    assert run.code == 0, run.err
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a scene in several files and a configuration: to be read, not to be changed."""
    home = tmp_path_factory.mktemp("home")
    made = datasets.synthetic(rows=ROWS, cols=COLS, bands=BANDS)
    cube = made.cube.astype(np.float64)
    cube[MASKED] = np.nan
    scipy.io.savemat(home / "scene.mat", {"data": cube, "map": made.truth})
    np.save(home / "cube.npy", cube)
    np.save(home / "truth.npy", made.truth)
    (home / "tiny.toml").write_text(TINY)
    return home


@pytest.fixture(scope="module")
def detected(home):
    """One whole run, and where it wrote."""
    return done(
        "detect", home / "scene.mat", "--config", home / "tiny.toml", "-o", home / "detected"
    ), home / "detected"


@pytest.fixture(scope="module")
def trained(home):
    """Another run that keeps its detector, and where."""
    return done("train", home / "scene.mat", "--config", home / "tiny.toml", "-o", home / "trained"), home / "trained"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What a run leaves


def test_detect_writes_everything(home, detected):
    _, folder = detected
    assert sorted(os.listdir(folder)) == sorted([*results.FILES, tracking.FILE])
    anomaly_map = np.load(folder / "map.npy")
    assert (anomaly_map.shape, anomaly_map.dtype) == ((ROWS, COLS), np.float32)
    masked = np.zeros((ROWS, COLS), bool)
    masked[MASKED] = True
    np.testing.assert_array_equal(np.isnan(anomaly_map), masked)
    saved = scipy.io.loadmat(folder / "map.mat")["SAD_result"]
    np.testing.assert_array_equal(saved, anomaly_map, strict=True)
    for name in ("map.png", "overview.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 300
    assert config.load(folder / "config.toml") == config.load(home / "tiny.toml")


def test_the_record_is_complete_and_right(home, detected):
    _, folder = detected
    record = json.loads((folder / "result.json").read_text())
    image = read_scene(home / "scene.mat")
    assert record["scene"] == {
        "name": "scene",
        "source": str(home / "scene.mat"),
        "rows": ROWS,
        "cols": COLS,
        "bands": BANDS,
        "good_bands": f"0–{BANDS - 1}",
        "pixels": ROWS * COLS - 2,
        "type": "float64",
        "range": [float(image.low.min()), float(image.high.max())],
        "wavelengths": None,
        "place": None,
        "metadata": {},
        "anomalous_pixels": int(image.truth.sum()),
        "notes": list(image.notes),
        "sha256": scenes.digest(image),
    }
    assert record["metrics"] == metrics.evaluate(np.load(folder / "map.npy"), image.truth).as_dict()
    assert config.from_table(record["config"]) == config.load(home / "tiny.toml")
    assert record["seconds"] > 0
    assert record["versions"]["scoread-jax"] == scoread_jax.__version__
    assert {"python", "jax", "jaxlib", "flax", "optax", "numpy", "scipy"} < set(record["versions"])


def test_the_map_is_that_of_the_library(home, detected):
    image, recipe = read_scene(home / "scene.mat"), config.load(home / "tiny.toml")
    np.testing.assert_array_equal(pipeline.score(pipeline.fit(image, recipe), image), np.load(detected[1] / "map.npy"))


def test_result_on_stdout_and_the_rest_on_stderr(detected):
    run, folder = detected
    record = json.loads((folder / "result.json").read_text())
    assert f"{record['metrics']['auc']:.5f}" in run.out
    assert "\ndone in " in run.out
    assert all(name in run.out for name in results.FILES)
    lines = run.err.splitlines()
    assert lines[0].startswith(f"scene: {ROWS} × {COLS} pixels, {BANDS} bands, float64, ")
    assert "2 of 120 pixels masked" in run.err
    assert lines[-2].startswith("training: epoch 2 of 2, loss ")
    assert lines[-1] == "scoring"


def test_json_and_quiet(home, elsewhere, detected, capfd):
    arguments = ["detect", home / "scene.mat", "--config", home / "tiny.toml", "-o", "again", "--json", "--quiet"]
    assert main([str(argument) for argument in arguments]) == 0
    out, err = capfd.readouterr()  # of the whole process, not only of Python
    assert err == ""
    record = json.loads(out)
    assert record.pop("folder") == "again"
    assert record == json.loads((elsewhere / "again" / "result.json").read_text())
    np.testing.assert_array_equal(np.load("again/map.npy"), np.load(detected[1] / "map.npy"))


def test_train_then_score_is_detect(home, elsewhere, detected, trained):
    run, directory = trained
    assert run.out == f"detector: {directory}\nnext:     scoread score SCENE -d {directory}\n"
    run = done("score", home / "scene.mat", "-d", directory, "-o", "scored")
    assert "training" not in run.err
    np.testing.assert_array_equal(np.load("scored/map.npy"), np.load(detected[1] / "map.npy"))
    record = json.loads(Path("scored/result.json").read_text())
    assert record["metrics"] == json.loads((detected[1] / "result.json").read_text())["metrics"]


def test_another_seed_is_another_map(home, elsewhere, detected, trained):
    first = np.load(detected[1] / "map.npy")
    done("detect", home / "scene.mat", "--config", home / "tiny.toml", "--seed", 4, "-o", "retrained")
    done("score", home / "scene.mat", "-d", trained[1], "--seed", 4, "-o", "rescored")
    for folder in ("retrained", "rescored"):
        assert config.load(f"{folder}/config.toml").seed == 4
        difference = np.nanmax(np.abs(np.load(f"{folder}/map.npy") - first))
        assert difference > 1e-3 * np.nanmax(first)


def test_overrides_are_used_and_recorded(home, elsewhere, trained):
    done("score", home / "scene.mat", "-d", trained[1], "--detect.times", 0.1, 0.3, "-o", "scored")
    assert config.load("scored/config.toml") == config.replace(
        config.load(home / "tiny.toml"), {"detect.times": (0.1, 0.3)}
    )


def test_a_scene_without_truth_in_the_default_folder(home, elsewhere, trained, detected):
    run = done("score", home / "cube.npy", "-d", trained[1])
    assert sorted(os.listdir("cube-scoread")) == sorted(results.FILES)
    assert json.loads(Path("cube-scoread/result.json").read_text())["metrics"] is None
    assert run.out.startswith("done in ")
    np.testing.assert_array_equal(np.load("cube-scoread/map.npy"), np.load(detected[1] / "map.npy"))


def test_a_truth_of_one_class_has_no_metrics(home, elsewhere, trained):
    np.save("nothing.npy", np.zeros((ROWS, COLS)))
    done("score", home / "cube.npy", "--truth", "nothing.npy", "-d", trained[1], "-o", "scored")
    record = json.loads(Path("scored/result.json").read_text())
    assert (record["metrics"], record["scene"]["anomalous_pixels"]) == (None, 0)


def test_a_later_run_replaces_the_files_of_an_earlier_one_and_no_others(home, elsewhere, trained):
    Path("mine").mkdir()
    Path("mine/map.npy").write_bytes(b"old")
    Path("mine/notes.txt").write_bytes(b"mine")
    done("score", home / "scene.mat", "-d", trained[1], "-o", "mine")
    assert sorted(os.listdir("mine")) == sorted([*results.FILES, "notes.txt"])
    assert np.load("mine/map.npy").shape == (ROWS, COLS)


def test_a_detector_is_replaced_by_train(home, elsewhere, trained):
    shutil.copytree(trained[1], "detector")
    done("train", home / "scene.mat", "--config", home / "tiny.toml", "--seed", 9, "-o", "detector")
    assert json.loads(Path("detector/detector.json").read_text())["config"]["seed"] == 9


class Terminal(io.StringIO):
    """Takes itself for one."""

    def isatty(self):  # noqa: D102
        return True


def test_a_terminal_gets_a_progress_bar(home, elsewhere, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with contextlib.redirect_stdout(io.StringIO()):
        arguments = ["train", home / "scene.mat", "--config", home / "tiny.toml", "-o", "detector"]
        assert main([str(argument) for argument in arguments]) == 0
    assert "\rtraining: " in terminal.getvalue()
    assert "training: epoch" not in terminal.getvalue()


def test_an_interrupt_leaves_nothing(home, elsewhere, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "fit", interrupted)
    monkeypatch.setattr(pipeline, "detect", interrupted, raising=False)
    run = scoread("detect", home / "scene.mat", "-o", "out", "--quiet")
    assert run == (130, "", "scoread: interrupted\n")
    assert os.listdir(elsewhere) == []


# The smaller commands


def test_evaluate(home, detected):
    anomaly_map, truth = np.load(detected[1] / "map.npy"), np.load(home / "truth.npy")
    expected = metrics.evaluate(anomaly_map, truth)
    for truth_file in ("truth.npy", "scene.mat"):
        for map_file in ("map.npy", "map.mat"):
            run = done("evaluate", detected[1] / map_file, home / truth_file)
            assert run == (0, metrics.format_table(expected) + "\n", "")
    run = done("evaluate", detected[1] / "map.mat", home / "scene.mat", "--json", "--map-var", "SAD_result")
    assert json.loads(run.out) == expected.as_dict()


def test_info(home, elsewhere):
    image = read_scene(home / "scene.mat")
    run = done("info", home / "scene.mat")
    assert (run.out, run.err) == (results.describe_fully(image) + "\n", "")
    assert "truth: map (12 × 10 uint8)" in run.out
    record = json.loads(done("info", home / "scene.mat", "--json").out)
    assert record == results.scene_record(image)
    Path("mask.npy").write_bytes((home / "truth.npy").read_bytes())
    run = done("info", home / "cube.npy", "--truth", home / "truth.npy", "--mask", "mask.npy")
    assert f"{ROWS * COLS - int(image.truth.sum())} of 120 pixels masked" in run.out


def test_info_of_chosen_bands(home, elsewhere):
    record = json.loads(done("info", home / "scene.mat", "--bands", "0-2,5", "--json").out)
    assert (record["bands"], record["good_bands"]) == (4, "0–2, 5")
    assert "4 bands left out by --bands (counted from 0): 3–4, 6–7" in record["notes"]
    record = json.loads(done("info", "synthetic", "--drop-wavelengths", "1340-1450,1790-1960", "--json").out)
    assert record["bands"] == 100 - 5 - 8


def test_the_interpreter_is_left_as_it_was(monkeypatch):
    usual = gc.get_threshold()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")  # a user's own choice
    done("info", "--list")
    assert gc.get_threshold() == usual
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"


def test_info_of_public_scenes(elsewhere):
    listed = done("info", "--list").out
    assert [line.split()[0] for line in listed.splitlines()] == list(datasets.names())
    assert json.loads(done("info", "--list", "--json").out)["synthetic"] == datasets.info("synthetic")
    assert done("info", "synthetic").out.startswith("synthetic: 64 × 64 pixels, 100 bands, uint16, 23 anomalous")


def test_imported_weights_score_a_scene(elsewhere, data_dir, reference_dir):
    pytest.importorskip("torch")
    weights = reference_dir / "hydice_unconditional.pth"
    run = done("import-weights", weights, "--config", "scoread-hydice", "-o", "hydice", "--detect.perturbations", 2)
    assert run.out.startswith("detector: hydice (162 bands, unconditional)\n")
    crop = scipy.io.loadmat(data_dir / "hydice.mat")["data"][:6, :8]
    np.save("crop.npy", crop)
    done("score", "crop.npy", "-d", "hydice", "-o", "scored")
    anomaly_map = np.load("scored/map.npy")
    assert anomaly_map.shape == (6, 8)
    assert ((anomaly_map > 0) & (anomaly_map <= 2)).all()  # the length of a sum of two unit vectors


def test_imported_weights_may_be_conditional(elsewhere, reference_dir):
    pytest.importorskip("torch")
    weights = reference_dir / "pavia_conditional_ring7_5.pth"
    record = json.loads(done("import-weights", weights, "--config", "scoread-pavia", "-o", "pavia", "--json").out)
    assert record == {"detector": "pavia", "bands": 102}
    assert "conditional" in done("import-weights", weights, "--config", "scoread-pavia", "-o", "pavia").out


# Bad input


@pytest.fixture(scope="module")
def bad(home, tmp_path_factory, trained):
    """A folder of files that are wrong, each in its own way."""
    bad = tmp_path_factory.mktemp("bad")
    rng = np.random.default_rng(0)
    (bad / "text.mat").write_text("rows, cols, bands\n" * 20)
    whole = (home / "scene.mat").read_bytes()
    (bad / "truncated.mat").write_bytes(whole[: len(whole) // 2])
    (bad / "empty.mat").write_bytes(b"")
    np.save(bad / "plane.npy", rng.random((ROWS, COLS)))
    np.save(bad / "one-band.npy", rng.random((ROWS, COLS, 1)))
    np.save(bad / "nan.npy", np.full((ROWS, COLS, BANDS), np.nan))
    np.save(bad / "mask.npy", np.ones((COLS, ROWS)))
    np.save(bad / "other-bands.npy", rng.random((ROWS, COLS, BANDS + 1)))
    np.save(bad / "objects.npy", np.array([None, {}]), allow_pickle=True)
    (bad / "scene.doc").write_bytes(b"words")
    (bad / "text.toml").write_text("[train]\nepochs = 'ten'\n")
    (bad / "unknown.toml").write_text("[train]\nepoch = 10\n")
    (bad / "broken.toml").write_text("[train\n")
    (bad / "file").write_text("x")
    (bad / "thesis").mkdir()
    (bad / "thesis" / "chapter.tex").write_text("x")
    shutil.copytree(trained[1], bad / "damaged")
    largest = max((bad / "damaged" / "arrays").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    damaged = bytearray(largest.read_bytes())
    damaged[len(damaged) // 2] ^= 16
    largest.write_bytes(damaged)
    return bad


def everything(*folders):
    return {path: path.read_bytes() if path.is_file() else None for folder in folders for path in folder.rglob("*")}


SCENE = ("{home}/scene.mat", "--config", "{home}/tiny.toml")
DETECTOR = ("-d", "{home}/trained")
PUBLISHED = ("--config", "scoread-hydice", "-o", "out")

WRONG = {
    # the scene
    "missing": (("detect", "nowhere.mat"), "nowhere.mat: expected a file, found nothing there"),
    "missing folder": (("detect", "no/where"), "no/where: expected a file"),
    "folder": (("detect", "{bad}"), "{bad}: expected a file, found a folder"),
    "unknown name": (("detect", "hydise"), "hydise: expected a file or the name", "did you mean hydice?"),
    "no such name": (("info", "zzzzz"), "zzzzz: expected", "the names are hydice, "),
    "long name": (("detect", "x" * 5000), "expected a file or the name of a public scene"),
    "name and options": (("detect", "synthetic", "--truth", "{home}/truth.npy"), "synthetic: expected", "alone"),
    "not a .mat": (("detect", "{bad}/text.mat"), "{bad}/text.mat: expected"),
    "truncated": (("detect", "{bad}/truncated.mat"), "{bad}/truncated.mat: expected", "cut short"),
    "empty": (("detect", "{bad}/empty.mat"), "{bad}/empty.mat: expected", "empty"),
    "another format": (("detect", "{bad}/scene.doc"), "{bad}/scene.doc: expected", ".mat"),
    "pickled objects": (("detect", "{bad}/objects.npy"), "{bad}/objects.npy: expected", "pickled"),
    "2-D": (("detect", "{bad}/plane.npy"), "{bad}/plane.npy: expected a cube [rows, cols, bands], found a 2-D array"),
    "one band": (("detect", "{bad}/one-band.npy"), "{bad}/one-band.npy: expected at least 2 bands"),
    "NaN": (("detect", "{bad}/nan.npy"), "{bad}/nan.npy: expected finite values"),
    "mask": (("detect", "{home}/scene.mat", "--mask", "{bad}/mask.npy"), "expected a mask of the cube's 12 × 10"),
    "truth": (("detect", "{home}/scene.mat", "--truth", "{bad}/mask.npy"), "expected a truth of the cube's 12 × 10"),
    "variable": (("detect", "{home}/scene.mat", "--cube-var", "x"), "expected real numbers called 'x'", "--cube-var"),
    "too many bands": (("info", "{home}/scene.mat", "--bands", "0-99"), "expected --bands from 0 to 7, found 99"),
    "wavelengths": (("info", "{home}/scene.mat", "--drop-wavelengths", "a-b"), "--drop-wavelengths: expected ranges"),
    "no wavelengths": (("info", "{home}/scene.mat", "--drop-wavelengths", "1-2"), "found none in the file", "--bands"),
    "no scene": (("info",), "info expects a SCENE, or --list"),
    # the configuration
    "text in TOML": (("detect", "{home}/scene.mat", "--config", "{bad}/text.toml"),
                     "{bad}/text.toml: train.epochs must be a whole number, found 'ten'"),
    "unknown key": (("detect", "{home}/scene.mat", "--config", "{bad}/unknown.toml"),
                    "{bad}/unknown.toml: unknown key 'train.epoch'", "'train.epochs'"),
    "not TOML": (("train", "{home}/scene.mat", "--config", "{bad}/broken.toml", "-o", "out"), "broken.toml: expected"),
    "no TOML": (("detect", "{home}/scene.mat", "--config", "no.toml"), "no.toml: expected a TOML file"),
    "no preset": (("detect", "{home}/scene.mat", "--config", "best"), "no preset called 'best': choose one of", "demo"),
    "K = 0": (("detect", *SCENE, "--detect.perturbations", "0"), "detect.perturbations must be 1 or more, found 0"),
    "t = 0": (("detect", *SCENE, "--detect.times", "0"), "detect.times must be", "(0, 1]", "found (0.0,)"),
    "t = 1.5": (("detect", *SCENE, "--detect.times", "0.1", "1.5"), "detect.times must be", "(0, 1]", "1.5"),
    "score t": (("score", "{home}/scene.mat", *DETECTOR, "--detect.times", "2"), "detect.times must be", "(0, 1]"),
    "NaN rate": (("train", *SCENE, "-o", "out", "--train.learning_rate", "nan"), "train.learning_rate must be"),
    "hole": (("detect", *SCENE, "--context.outer", "5"), "context.inner must be odd and less than context.outer = 5"),
    "ring": (("detect", *SCENE, "--context.outer", "25", "--context.inner", "3"), "25", "12 × 10", "context.outer"),
    "batch": (("detect", *SCENE, "--train.batch_size", "119"), "train.batch_size must be at most", "118", "found 119"),
    # the devices
    "too many devices": (("detect", *SCENE, "--devices", "4096"), "--devices must be at most", "found 4096", "fewer"),
    "no device": (("train", *SCENE, "-o", "out", "--devices", "0"), "--devices must be 1 or more, found 0"),
    "no such strategy": (("score", "x", "-d", "y", "--strategy", "vmap"), "--strategy", "'vmap'"),
    # the detector
    "bands": (("score", "{bad}/other-bands.npy", *DETECTOR), "{bad}/other-bands.npy: expected 8 bands", "found 9"),
    "no detector": (("score", "{home}/scene.mat", "-d", "nowhere"), "nowhere: expected a detector", "scoread train"),
    "not a detector": (("score", "{home}/scene.mat", "-d", "{bad}/thesis"), "{bad}/thesis: expected a detector"),
    "damaged": (("score", "{home}/scene.mat", "-d", "{bad}/damaged"), "{bad}/damaged/arrays", "restore a copy"),
    "no weights": (("import-weights", "no.pth", *PUBLISHED), "no.pth: expected a PyTorch state dict"),
    "bad weights": (("import-weights", "{bad}/text.mat", *PUBLISHED), "{bad}/text.mat: expected a PyTorch state dict"),
    "another recipe": (("import-weights", "x.pth", "--config", "default", "-o", "out"), "--config default: expected"),
    # the output
    "out is a file": (("detect", *SCENE, "-o", "{bad}/file"), "{bad}/file: expected a directory", "is a file", "--out"),
    "out in a file": (("score", "{home}/scene.mat", *DETECTOR, "-o", "{bad}/file/out"), "{bad}/file is a file"),
    "track in a file": (("train", *SCENE, "-o", "{home}/new", "--track", "{bad}/file/x"), "another --track"),
    "train to a file": (("train", *SCENE, "-o", "{bad}/file"), "{bad}/file: expected a directory", "is a file"),
    "train over a thesis": (("train", *SCENE, "-o", "{bad}/thesis"), "{bad}/thesis: expected a new or empty directory",
                            "found chapter.tex"),
    "import over a thesis": (("import-weights", "x.pth", *PUBLISHED[:2], "-o", "{bad}/thesis"), "found chapter.tex"),
    # evaluate
    "no map": (("evaluate", "no.npy", "{home}/truth.npy"), "no.npy: expected a file"),
    "cube as map": (("evaluate", "{home}/cube.npy", "{home}/truth.npy"), "{home}/cube.npy: expected a map"),
    "map size": (("evaluate", "{bad}/plane.npy", "{bad}/mask.npy"), "(12, 10)", "(10, 12)"),
    # the arguments
    "no command": ((), "COMMAND", "see scoread --help"),
    "no such command": (("detct", "x"), "detct", "detect", "see scoread --help"),
    "no scene given": (("detect",), "SCENE", "see scoread detect --help"),
    "no detector given": (("score", "x.mat"), "-d/--detector", "see scoread score --help"),
    "text for a number": (("detect", "x.mat", "--train.epochs", "ten"), "--train.epochs", "'ten'", "detect --help"),
    "fraction": (("detect", "x.mat", "--train.epochs", "1.5"), "--train.epochs", "'1.5'"),
    "text for a time": (("detect", "x.mat", "--detect.times", "early"), "--detect.times", "'early'"),
    "misspelt": (("detect", "x.mat", "--train.epocs", "3"), "'--train.epocs'", "did you mean --train.epochs?"),
    "misspelt option": (("detect", "x.mat", "--cube-vra=3"), "'--cube-vra=3'", "did you mean --cube-var?"),
    "not of this command": (("score", "x.mat", "-d", "y", "--train.epochs", "3"), "unknown argument '--train.epochs'"),
    "too much": (("evaluate", "a", "b", "c"), "unknown argument 'c'; see scoread COMMAND --help"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_one_sentence_and_code_2(name, home, bad, elsewhere):
    if name == "bad weights":
        pytest.importorskip("torch")
    arguments, *words = WRONG[name]
    before = everything(home, bad, elsewhere)
    places = {"home": home, "bad": bad}
    arguments = [argument.format(**places) for argument in arguments]
    runs = [scoread(*arguments)]
    if arguments:
        runs.append(scoread(arguments[0], "--quiet", *arguments[1:]))
        assert runs[1].err.count("\n") == 1
    for run in runs:
        assert (run.code, run.out) == (2, "")
        *said, message = run.err.splitlines()
        assert message.startswith("scoread: error: ")
        assert not any(line.startswith("scoread: error: ") or "Traceback" in line for line in said)
        assert message.count("  ") == 0
        for word in words:
            assert word.format(**places) in message
    assert everything(home, bad, elsewhere) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for this user")
@pytest.mark.parametrize("command", ["detect", "train"])
def test_a_read_only_place_is_refused_at_once(command, home, elsewhere):
    folder = elsewhere / "locked"
    folder.mkdir(mode=0o500)
    run = scoread(command, home / "scene.mat", "--config", home / "tiny.toml", "-o", folder / "out")
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        f"scoread: error: {folder / 'out'}: expected a place to write to, found that {folder} is read-only; "
        "choose another --out\n"
    )
    assert os.listdir(folder) == []


def test_a_place_that_is_read_only_after_all_is_an_error_too(home, elsewhere, trained, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    run = scoread("score", home / "scene.mat", "-d", trained[1], "-o", "out", "--quiet")
    assert run.code == 2
    assert re.fullmatch(r"scoread: error: .*out.*: expected .*, found: Read-only file system; choose .*\n", run.err)


# Help


def test_help_is_instant_and_whole():
    command = [sys.executable, "-X", "importtime", "-m", "scoread_jax", "--help"]
    root = Path(scoread_jax.__file__).parent.parent
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in run.stderr.splitlines()}
    assert "scoread_jax.config" in imported
    assert not {"jax", "numpy", "scipy", "matplotlib", "orbax.checkpoint", "flax"} & imported
    for name in ("detect", "train", "score", "batch", "evaluate", "info", "doctor", "import-weights"):
        assert re.search(rf"^    {name}\s", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["detect", "train", "score", "batch", "evaluate", "info", "import-weights"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: scoread {command}")
    keys = list(config.keys())
    options = [key for key in keys if f"--{key} " in text]
    if command in ("detect", "train", "batch", "import-weights"):
        assert options == keys
    elif command == "score":
        assert options == [key for key in keys if key == "seed" or key.startswith("detect.")]


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"scoread {scoread_jax.__version__}\n"
