"""Detectors as files: the same map, for every platform, and nothing of a file that is not one."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import jax
import jax.export
import numpy as np
import pytest

from scoread_jax import config, export, pipeline, scoring
from scoread_jax.cli import main
from scoread_jax.errors import CheckpointError, ConfigError, MissingExtraError
from scoread_jax.execution import PLAIN
from scoread_jax.scene import make_scene

pytest.importorskip("flatbuffers")

ROWS, COLS, BANDS = 12, 11, 7
TINY = {
    "train.steps": 5, "train.batch_size": 32, "train.drop": 0.0, "network.hidden": 16, "network.blocks": 1,
    "network.embedding": 4, "network.channels": 4, "detect.perturbations": 4,
}  # fmt: skip
NETWORK = {
    "fusion.members": "network",
    "fusion.weights": 1.0,
    "fusion.largest_object": 0,
    "fusion.surroundings": 0.0,
    "fusion.lend": 0.0,
}


def made(rows=ROWS):
    values = np.random.default_rng(0).random((rows, COLS, BANDS)).cumsum(axis=2).astype(np.float32)
    return make_scene(values)


@pytest.fixture(scope="module")
def detector():
    recipe = config.replace(config.load("default"), TINY | NETWORK | {"view.components": 5})
    return pipeline.fit(made(), recipe)


@pytest.fixture(scope="module")
def exported(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "detector.scoread"
    export.save(path, detector, *scoring.exportable(detector))
    return path


@pytest.mark.parametrize("rows", [ROWS, 5])
def test_the_map_is_the_same_for_any_number_of_pixels(rows, detector, exported):
    loaded, digest = export.load(exported)
    assert len(digest) == 64
    assert loaded.config == detector.config
    expected = pipeline.score(detector, made(rows))
    np.testing.assert_allclose(pipeline.score(loaded, made(rows)), expected, rtol=1e-5, atol=1e-5)


def test_a_ring_too(tmp_path):
    values = {"context.outer": 5, "context.inner": 3, "train.epochs": 1, "network.name": "mlp"}
    detector = pipeline.fit(made(), config.replace(config.load("scoread-hydice"), TINY | values))
    export.save(tmp_path / "file", detector, *scoring.exportable(detector), ["cpu"])
    loaded, _ = export.load(tmp_path / "file")
    expected = pipeline.score(detector, made())
    np.testing.assert_allclose(pipeline.score(loaded, made()), expected, rtol=1e-5, atol=1e-5)
    # blocks of a scene are filled up to one size
    execution = PLAIN._replace(rows=5)
    np.testing.assert_allclose(pipeline.score(loaded, made(), execution), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "unet1d"])
def test_it_lowers_for_every_platform(name):
    """Without a device of any of them: what continuous integration knows of GPUs and TPUs."""
    values = TINY | NETWORK | {"network.name": name, "view.components": 5, "train.steps": 1}
    detector = pipeline.fit(made(), config.replace(config.load("default"), values))
    program = export.lower(detector, *scoring.exportable(detector))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert program.in_avals[1].shape[1] == 5
    calls = [line for line in program.mlir_module().splitlines() if "custom_call" in line]
    assert all("@shape_assertion" in line for line in calls)


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("scene.npy", made().cube)
    settings = [f"--{key}={value}" for key, value in (TINY | NETWORK).items()]
    assert main(["train", "scene.npy", "-o", "detector", "--quiet", *settings]) == 0
    assert main(["export", "detector", "-o", "file", "--platforms", "cpu"]) == 0
    assert "exported: file (" in capsys.readouterr().out
    assert main(["score", "scene.npy", "-d", "detector", "-o", "first", "--quiet"]) == 0
    assert main(["score", "scene.npy", "-d", "file", "-o", "second", "--quiet"]) == 0
    np.testing.assert_allclose(np.load("second/map.npy"), np.load("first/map.npy"), rtol=1e-5, atol=1e-5)
    record = json.loads((tmp_path / "second" / "result.json").read_text())
    assert record["detector"] == export.load("file")[1]
    capsys.readouterr()
    assert main(["score", "scene.npy", "-d", "file", "-o", "third", "--detect.perturbations", "2"]) == 2
    assert "file: expected a detector's directory where --detect.perturbations is given" in capsys.readouterr().err
    assert main(["export", "nowhere", "-o", "file2"]) == 2
    assert not (tmp_path / "file2").exists()


def test_a_detector_without_a_network(detector, exported):
    alone = dataclasses.replace(detector, config=config.replace(detector.config, {"fusion.members": "ring_nearest"}))
    with pytest.raises(ConfigError, match="found one without the member network"):
        scoring.exportable(alone)
    with pytest.raises(ConfigError, match="found one that was exported"):
        scoring.exportable(export.load(exported)[0])


def test_a_platform_that_was_left_out(detector, tmp_path):
    export.save(tmp_path / "file", detector, *scoring.exportable(detector), ["tpu"])
    loaded, _ = export.load(tmp_path / "file")
    if jax.default_backend() == "tpu":
        pytest.skip("there is a TPU")
    with pytest.raises(ConfigError, match=r"was exported for tpu, found .* to work on"):
        pipeline.score(loaded, made())
    with pytest.raises(ConfigError, match="platforms must be of cpu, cuda, tpu, found metal"):
        export.save(tmp_path / "other", detector, *scoring.exportable(detector), ["metal"])


def rewritten(path, **changes):
    """The file with another header and a digest that fits."""
    data = path.read_bytes()
    prefix, length = len(export._MAGIC), int.from_bytes(data[len(export._MAGIC) :][:8], "little")
    header = json.loads(data[prefix + 40 : prefix + 40 + length]) | changes
    text = json.dumps(header).encode()
    body = text + data[prefix + 40 + length :]
    return export._MAGIC + len(text).to_bytes(8, "little") + hashlib.sha256(body).digest() + body


WRONG = {
    "empty": (lambda path: b"", "found another kind of file"),
    "another kind": (lambda path: b"PK\3\4" + bytes(99), "found another kind of file"),
    "cut short": (lambda path: path.read_bytes()[:-7], "its digest is another"),
    "one bit": (lambda path: path.read_bytes()[:-7] + b"x" + path.read_bytes()[-6:], "its digest is another"),
    "a newer format": (lambda path: rewritten(path, format=99), "expected export format 1, found 99"),
    "sizes": (lambda path: rewritten(path, program=10**15), "bytes after the header where it says"),
    "negative sizes": (lambda path: rewritten(path, program=-5), "bytes after the header where it says"),
    "another program": (lambda path: rewritten(path, program=0, arrays={}), "bytes after the header"),
    "no configuration": (lambda path: rewritten(path, config=[]), "damaged"),
    "no arrays": (lambda path: rewritten(path, arrays=5), "damaged"),
    "no multiple": (lambda path: rewritten(path, multiple=0), "damaged"),
    "no numbers": (lambda path: rewritten(path, bands="many"), "damaged"),
    "more bands than any file": (
        lambda path: rewritten(path, good_bands=[0], file_bands=10**12),
        "1000000000000 bands",
    ),
    "garbage": (lambda path: export._MAGIC + bytes(8) + hashlib.sha256(b"x" * 9).digest() + b"x" * 9, "header"),
    "long header": (
        lambda path: export._MAGIC + b"\xff" * 8 + hashlib.sha256(b"x" * 9).digest() + b"x" * 9,
        "a header of",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_hostile_files_are_refused_in_one_sentence(name, exported, tmp_path):
    make, words = WRONG[name]
    path = tmp_path / "file"
    path.write_bytes(make(exported))
    with pytest.raises(CheckpointError) as refused:
        export.load(path)
    assert str(path) in str(refused.value)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_program_that_calls_python_is_refused(exported, tmp_path):
    """A file could name any function of the process; only JAX's own are let in."""

    def harmful(x):
        return jax.ffi.ffi_call("anything", jax.ShapeDtypeStruct((3,), np.float32))(x)

    unchecked = [jax.export.DisabledSafetyCheck.custom_call("anything")]
    program = jax.export.export(jax.jit(harmful), disabled_checks=unchecked)(jax.ShapeDtypeStruct((3,), np.float32))
    program = program.serialize()
    with pytest.raises(CheckpointError, match="its program calls out of itself"):
        export._program(tmp_path / "file", bytes(program), 1)


def test_without_flatbuffers(detector, exported, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(MissingExtraError, match=r"expected flatbuffers.*scoread-jax\[export\]"):
        export.load(exported)
    with pytest.raises(MissingExtraError, match=r"scoread-jax\[export\]"):
        export.save(tmp_path / "file", detector, *scoring.exportable(detector))
    assert not (tmp_path / "file").exists()
