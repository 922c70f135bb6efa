"""Files of strangers: refused in one sentence, soon, and without the memory that they claim.

What ``python -m benchmarks.robustness fuzz`` once found is kept here.
"""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import scipy.io

from benchmarks.robustness.fuzz import Files
from scoread_jax import config, io
from scoread_jax.errors import ConfigError, SceneError, ScoreADError

CUBE = np.random.default_rng(0).integers(1, 99, (4, 5, 6)).astype(np.float32)


def refused(path, *words):
    tracemalloc.start()
    try:
        with pytest.raises(SceneError) as caught, warnings.catch_warnings(action="ignore"):
            io.read_scene(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message
    assert peak < 50e6


def npy_claiming(path, shape, order="False"):
    header = f"{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(900))
    return path


@pytest.mark.parametrize("shape", ["(1000000, 1000000, 1)", "(4, 2000000000, 224)", f"({2**62}, {2**62}, 4)"])
def test_a_kilobyte_that_claims_a_trillion_pixels(tmp_path, shape):
    refused(npy_claiming(tmp_path / "scene.npy", shape), "expected")


@pytest.mark.parametrize("shape", ["(4, -5, 6)", "(4294967295, -1, 6)", "(-1, -1, 2)"])
def test_lengths_below_zero(tmp_path, shape):
    refused(npy_claiming(tmp_path / "scene.npy", shape), "lengths of 0 or more")


def test_a_zip_bomb(tmp_path):
    path = tmp_path / "scene.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (40, 2**20, 10)})
        for _ in range(40):
            file.write(bytes(10 << 20))
    assert path.stat().st_size < 1e6
    refused(path, "expected as much data as the file claims")


def test_names_in_archives_lead_nowhere(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "scene.npz"
    np.savez(path, data=CUBE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../outside.npy", zipfile.ZipFile(path).read("data.npy"))
    io.read_scene(path)
    assert [each.name for each in tmp_path.iterdir()] == ["inside"]
    assert [each.name for each in inside.iterdir()] == ["scene.npz"]


class Runs:
    """Code that unpickling would run."""

    def __reduce__(self):
        """Say what unpickling calls."""
        return pytest.fail, ("code was run",)


def test_pickles_are_not_opened(tmp_path):
    objects = np.empty((2, 2), object)
    objects[:] = Runs()
    np.save(tmp_path / "scene.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "scene.npz", data=CUBE, more=objects)
    for name in ("scene.npy", "scene.npz"):
        refused(tmp_path / name, "pickled objects, which are never loaded")


# MATLAB


def matlab(path, compressed=False):
    scipy.io.savemat(path, {"data": CUBE, "note": "text"}, do_compression=compressed)
    return path


@pytest.mark.parametrize("place", [136, 144 + 8, 160, 176])
@pytest.mark.parametrize("kind", [0, 8, 19, 38, 0xFFFF, 2**32 - 1])
def test_data_types_that_matlab_does_not_have(tmp_path, place, kind):
    """SciPy follows them out of its table of types and ends the process."""
    path = matlab(tmp_path / "scene.mat")
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack("<I", kind)
    path.write_bytes(content)
    with contextlib.suppress(SceneError):  # where the type is one of those that may stand there
        io.read_scene(path)


def test_a_matlab_bomb(tmp_path):
    body = zlib.compress(struct.pack("<II", 14, 2**31 - 16) + bytes(320 << 20), 9)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path = tmp_path / "scene.mat"
    path.write_bytes(head + struct.pack("<II", 15, len(body)) + body)
    with pytest.raises(SceneError, match="expected as much data as the file claims"):
        io.read_scene(path)


# The readers that are ours to the last byte; behind the others is a library in C, which some damaged files can end.


@pytest.mark.parametrize("reader", ["npy", "npz", "mat v5", "mat v5, not compressed", "ENVI"])
def test_mutated_files_meet_a_scene_or_an_error_of_ours(tmp_path, reader):
    files = Files(reader, tmp_path)
    io.read_scene(files.path)
    refusals = 0
    for number in range(60):
        files.write(number)
        try:
            with warnings.catch_warnings(action="ignore"):
                io.read_scene(files.path)
        except ScoreADError:
            refusals += 1
    assert refusals > 30


# Configuration


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "[" + "a." * 20_000 + "a]\nb = 1", "a = " + "{b = " * 50_000])
def test_toml_that_nests_deeply(tmp_path, text):
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 500 + len(str(path))
