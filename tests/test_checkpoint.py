"""Detectors on disk: exactly what was saved, or an error; never half a directory, never somebody else's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from orbax.checkpoint import Checkpointer

from scoread_jax import checkpoint, config
from scoread_jax.checkpoint import seal
from scoread_jax.detect import Detector
from scoread_jax.errors import CheckpointError
from scoread_jax.scene import Normalisation
from scoread_jax.views import View

BANDS = 7
GOOD_BANDS = np.arange(9) % 4 != 1


def make_detector(seed=0, *, normalisation=True, good_bands=True, view=None, network=True):
    rng = np.random.default_rng(seed)
    variables = {"params": {}, "constants": {}}
    if network:
        shapes = {"conv_kernel": (5, 1, 4), "dense_kernel": (BANDS, 8), "dense_bias": (8,), "gain": ()}
        variables["params"] = {name: np.float32(rng.normal(size=shape)) for name, shape in shapes.items()}
        variables["constants"] = {"frequencies": np.float32(rng.normal(size=6))}
    return Detector(
        config.replace(config.load("scoread-pavia"), {"seed": seed, "view.kind": view or "identity"}),
        variables,
        BANDS,
        Normalisation(-3.3, 1 / 3) if normalisation else None,
        GOOD_BANDS if good_bands else None,
        View(view == "root", np.float32(rng.normal(size=BANDS)), np.float32(rng.normal(size=(BANDS, 3))))
        if view
        else None,
    )


def assert_equal(found, expected):
    assert (found.config, found.bands, found.normalisation) == (
        expected.config,
        expected.bands,
        expected.normalisation,
    )
    assert jax.tree.structure(found.variables) == jax.tree.structure(expected.variables)
    for ours, theirs in zip(jax.tree.leaves(found.variables), jax.tree.leaves(expected.variables), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, strict=True)
    for ours, theirs in ((found.good_bands, expected.good_bands),):
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_array_equal(ours, theirs, strict=True)
    assert (found.view is None) == (expected.view is None)
    if expected.view is not None:
        assert found.view.root == expected.view.root
        np.testing.assert_array_equal(found.view.centre, expected.view.centre, strict=True)
        np.testing.assert_array_equal(found.view.basis, expected.view.basis, strict=True)


def files_of(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def refused(directory, *words):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(directory)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500 + 2 * len(str(directory))
    for word in (str(directory), *words):
        assert word in message


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A detector, and the directory that holds it: to be read, not to be changed."""
    directory = tmp_path_factory.mktemp("saved") / "detector"
    detector = make_detector(view="root")
    checkpoint.save(directory, detector)
    return detector, directory


@pytest.fixture
def copy(saved, tmp_path):
    """The same, to be damaged."""
    detector, directory = saved
    return detector, shutil.copytree(directory, tmp_path / "copy")


# Saved and loaded


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"normalisation": False, "good_bands": False},
        {"view": "root"},
        {"view": "standardised", "normalisation": False},
        {"network": False},
        {"network": False, "good_bands": False},
    ],
    ids=str,
)
def test_what_is_loaded_is_what_was_saved(tmp_path, kinds):
    detector = make_detector(3, **kinds)
    checkpoint.save(tmp_path / "detector", detector)
    assert_equal(checkpoint.load(tmp_path / "detector"), detector)
    assert [path.name for path in tmp_path.iterdir()] == ["detector"]


def test_parents_are_made_and_relative_and_text_paths_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    detector = make_detector()
    checkpoint.save("a/b/detector", detector)
    assert_equal(checkpoint.load("a/b/detector"), detector)
    (tmp_path / "moved").symlink_to(tmp_path / "a")
    assert_equal(checkpoint.load(tmp_path / "moved" / "b" / "detector"), detector)


def test_a_detector_may_be_copied_and_moved(copy):
    detector, directory = copy
    assert_equal(checkpoint.load(directory), detector)
    assert_equal(checkpoint.load(directory.rename(directory.with_name("moved"))), detector)


def test_the_description_is_plain_json(saved):
    detector, directory = saved
    meta = json.loads((directory / "detector.json").read_text())
    assert meta["format"] == checkpoint.FORMAT
    assert meta["normalisation"] == [-3.3, 1 / 3]
    assert config.from_table(meta["config"]) == detector.config


# Where it may be saved


def test_an_older_detector_is_replaced(tmp_path):
    directory = tmp_path / "detector"
    for seed in (1, 2):
        checkpoint.save(directory, make_detector(seed))
    assert_equal(checkpoint.load(directory), make_detector(2))
    assert [path.name for path in tmp_path.iterdir()] == ["detector"]


def test_an_older_detector_behind_a_link_is_replaced_there(tmp_path):
    checkpoint.save(tmp_path / "real", make_detector(1))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    checkpoint.save(tmp_path / "link", make_detector(2))
    assert (tmp_path / "link").is_symlink()
    assert_equal(checkpoint.load(tmp_path / "real"), make_detector(2))


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "detector").mkdir()
    checkpoint.save(tmp_path / "detector", make_detector())
    assert_equal(checkpoint.load(tmp_path / "detector"), make_detector())


def test_somebody_elses_directory_is_left_alone(tmp_path):
    directory = tmp_path / "thesis"
    directory.mkdir()
    (directory / "chapter1.tex").write_text("x")
    with pytest.raises(CheckpointError, match=r"thesis: expected a new or empty.*found chapter1\.tex; choose"):
        checkpoint.save(directory, make_detector())
    (directory / "chapter2.tex").write_text("x")
    with pytest.raises(CheckpointError, match=r"found chapter1\.tex and 1 more"):
        checkpoint.save(directory, make_detector())
    assert sorted(path.name for path in directory.iterdir()) == ["chapter1.tex", "chapter2.tex"]
    with pytest.raises(CheckpointError, match=r"chapter1\.tex: expected a new.*found a file"):
        checkpoint.save(directory / "chapter1.tex", make_detector())
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_detector_with_somebody_elses_files_in_it_is_left_alone(copy):
    detector, directory = copy
    (directory / "map.npy").write_bytes(b"precious")
    with pytest.raises(CheckpointError, match=r"found map\.npy"):
        checkpoint.save(directory, make_detector(1))
    assert (directory / "map.npy").read_bytes() == b"precious"
    assert_equal(checkpoint.load(directory), detector)


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file/detector: expected"):
        checkpoint.save(tmp_path / "file" / "detector", make_detector())
    with pytest.raises(CheckpointError, match=r"expected .* found.*name too long"):
        checkpoint.save(tmp_path / ("x" * 300), make_detector())
    assert os.listdir(tmp_path) == ["file"]


# A failure on the way


class Killed(BaseException):
    """Nobody catches it, as nobody catches the end of a process."""


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Checkpointer, "save"),
        (json, "dumps"),
        (Path, "write_text"),
        (Path, "rename"),
    ],
    ids=lambda what: getattr(what, "__name__", what),
)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("RESOURCE\nEXHAUSTED"), Killed()])
def test_a_failure_leaves_the_old_detector(saved, tmp_path, monkeypatch, older, owner, name, error):
    detector, directory = saved
    if older:
        shutil.copytree(directory, tmp_path / "detector")
    expected = Killed if isinstance(error, Killed) else CheckpointError
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail(error))
        with pytest.raises(expected) as caught:
            checkpoint.save(tmp_path / "detector", make_detector(1))
    if expected is CheckpointError:
        reason = "RESOURCE EXHAUSTED" if isinstance(error, ValueError) else "No space left on device"
        assert str(caught.value).startswith(f"{tmp_path / 'detector'}: expected to write a detector there")
        assert reason in str(caught.value)
    assert os.listdir(tmp_path) == (["detector"] if older else [])
    if older:
        assert_equal(checkpoint.load(tmp_path / "detector"), detector)


def test_a_failure_between_the_two_renames_brings_the_old_one_back(copy, monkeypatch):
    detector, directory = copy
    rename, names = Path.rename, []

    def second_fails(path, target):
        names.append(path.name)
        if len(names) == 2:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", second_fails)
        with pytest.raises(CheckpointError, match="Input/output error"):
            checkpoint.save(directory, make_detector(1))
    assert names[0] == directory.name
    assert_equal(checkpoint.load(directory), detector)
    assert os.listdir(directory.parent) == [directory.name]


# Damage


def test_a_flipped_bit_anywhere_is_noticed(copy):
    detector, directory = copy
    rng = np.random.default_rng(0)
    for path in files_of(directory):
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, *rng.integers(len(whole), size=3).tolist()}:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            refused(directory, path.name, "damaged" if path.name != "detector.json" else "expected")
        path.write_bytes(whole)
    assert_equal(checkpoint.load(directory), detector)


@pytest.mark.parametrize("what", ["truncated", "empty", "deleted", "directory"])
def test_files_that_are_not_whole_are_noticed(copy, what):
    detector, directory = copy
    for path in files_of(directory):
        whole = path.read_bytes()
        if what == "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        elif what == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
            if what == "directory":
                path.mkdir()
        refused(directory, path.name)
        if what == "directory":
            path.rmdir()
        path.write_bytes(whole)
    assert_equal(checkpoint.load(directory), detector)


@pytest.mark.parametrize(
    "text", ["[]", "3", '"x"', "null", "{}", '{"format": 1}', '{"format": []}', "[" * 100_000, "\xff"]
)
def test_descriptions_of_another_kind_are_refused(copy, text):
    _, directory = copy
    (directory / "detector.json").write_bytes(text.encode("latin-1"))
    refused(directory, "detector.json", "expected")


def test_values_that_were_changed_by_hand_are_noticed(copy):
    _, directory = copy
    path = directory / "detector.json"
    meta = json.loads(path.read_text())
    for key, value in {"normalisation": [-3.3, 0.33], "bands": 8, "good_bands": None, "version": "9"}.items():
        path.write_text(json.dumps(meta | {key: value}))
        refused(directory, "detector.json", "its digest is another")
    path.write_text(json.dumps(meta))  # other white space: nobody but us writes these files
    refused(directory, "detector.json", "its digest is another")


def test_a_newer_format_is_refused(copy):
    _, directory = copy
    path = directory / "detector.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 4}))
    refused(directory, "expected detector format 2 or 3, found 4; use the scoread_jax that wrote it")


def test_the_second_format_is_read(copy):
    """It had no digests of its arrays."""
    detector, directory = copy
    path = directory / "detector.json"
    meta = json.loads(path.read_text()) | {"format": 2}
    del meta["sha256"]
    leaves = jax.tree.leaves(meta["arrays"], is_leaf=lambda node: "sha256" in node)
    assert len(leaves) == 7
    for leaf in leaves:
        del leaf["sha256"]
    path.write_text(seal.text(meta))
    assert_equal(checkpoint.load(directory), detector)


def resealed(directory, change):
    """Seal a changed description, as somebody can who wants us to believe it."""
    path = directory / "detector.json"
    meta = json.loads(path.read_text())
    del meta["sha256"]
    change(meta)
    path.write_text(seal.text(meta))


def test_arrays_that_orbax_would_read_wrongly_are_noticed(copy):
    """What Orbax returns is held to the digest of what was saved."""
    _, directory = copy
    resealed(directory, lambda meta: meta["arrays"]["variables"]["params"]["gain"].update(sha256="0" * 64))
    refused(directory, "['variables']['params']['gain'] is another")


def hostile_paths():
    return ["../../secret", "/dev/zero", "arrays/../../secret", "pipe", "link", "", "."]


@pytest.mark.parametrize("name", hostile_paths())
def test_a_stranger_cannot_have_other_files_read(copy, name):
    """A digest of /dev/zero would never end."""
    _, directory = copy
    os.mkfifo(directory / "pipe")
    (directory / "link").symlink_to("/dev/zero")
    resealed(directory, lambda meta: meta["files"].update({name: "0" * 64}))
    refused(directory, "damaged")


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta["arrays"]["view"]["basis"].update(shape=[10**12, 3]),
        lambda meta: meta["arrays"]["view"]["basis"].update(shape=[-1]),
        lambda meta: meta["arrays"]["view"]["basis"].update(shape=[2**62, 2**62]),
        lambda meta: meta["arrays"]["view"]["basis"].update(dtype="O"),
        lambda meta: meta["arrays"].update(view=3),
        lambda meta: meta.update(arrays=[]),
        lambda meta: meta.pop("arrays"),
        lambda meta: meta.pop("config"),
        lambda meta: meta.update(normalisation=["x", 1]),
        lambda meta: meta.update(normalisation=[1]),
        lambda meta: meta.update(config=[]),
        lambda meta: meta.update(files=3),
        lambda meta: meta.update(file_bands=10**15),
    ],
)
def test_descriptions_that_lie_are_refused(copy, change):
    _, directory = copy
    resealed(directory, change)
    refused(directory, "expected")


def test_a_configuration_of_another_version_is_refused(copy):
    _, directory = copy
    resealed(directory, lambda meta: meta["config"]["train"].update(momentum=0.9))
    refused(directory, "unknown key 'train.momentum'", "use scoread_jax ", "which wrote it")


def test_no_detector_at_all(tmp_path):
    refused(tmp_path / "missing", "expected a detector", "found no detector.json there")
    refused(tmp_path, "found no detector.json there")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "found no detector.json there")


def test_files_beside_it_do_not_matter(copy):
    detector, directory = copy
    (directory / ".DS_Store").write_bytes(b"x")
    (directory / "arrays" / ".DS_Store").write_bytes(b"x")
    assert_equal(checkpoint.load(directory), detector)
