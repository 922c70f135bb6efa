"""HDF5 in a process of its own: what kills or traps it ends in one sentence, and the next file is read."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from scoread_jax import io
from scoread_jax.errors import SceneError
from scoread_jax.io.readers import hdf5
from scoread_jax.io.readers.server import Server

CUBE = np.random.default_rng(0).integers(1, 99, (4, 5, 6)).astype(np.float32)
DAMAGED = Path(__file__).with_name("damaged")


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.nc"
    with h5py.File(path, "w") as file:
        file["cube"] = CUBE
    return path


def damaged(folder, name):
    path = folder / f"{name}.mat"
    path.write_bytes(gzip.decompress((DAMAGED / f"{name}.mat.gz").read_bytes()))
    return path


def is_read(path):
    np.testing.assert_array_equal(io.read_scene(path).cube[:], CUBE)
    return True


# Found by ``python -m benchmarks.robustness fuzz``. A newer HDF5 may find other words for them.


@pytest.mark.parametrize("name", ["crash", "endless", "greedy"])
def test_files_that_end_hdf5_do_not_end_this_process(tmp_path, good, name):
    path = damaged(tmp_path, name)
    with pytest.raises(SceneError) as caught:
        io.read_scene(path)
    assert str(caught.value).startswith(str(path))
    assert "get it again" in str(caught.value)
    assert is_read(good)


def test_hdf5_is_never_opened_here(good, monkeypatch):
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("opened in this process"))
    assert is_read(good)


def test_any_thread_and_any_folder(good, monkeypatch):
    monkeypatch.chdir(good.parent)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_read, [good.name] * 20))


def answer(path, connection):
    connection.send(is_read(path))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_forked_daemon_has_a_process_of_its_own(good):
    assert is_read(good)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=answer, args=(good, there), daemon=True)
    child.start()
    assert is_read(good)
    assert here.poll(60)
    assert here.recv()
    child.join()
    assert is_read(good)


@pytest.mark.parametrize("kind", ["raw data", "a dataset"])
def test_arrays_in_other_files_are_not_followed(tmp_path, good, kind):
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        if kind == "raw data":
            file.create_dataset("cube", (4, 5, 6), "u1", external=[("/etc/hostname", 0, 120)])
        else:
            layout = h5py.VirtualLayout((4, 5, 6), "f4")
            layout[:] = h5py.VirtualSource(str(good), "cube", (4, 5, 6))
            file.create_virtual_dataset("cube", layout)
    with pytest.raises(SceneError, match="found cube in other files"):
        io.read_scene(path)


def test_links_to_other_files_are_not_followed(tmp_path, good):
    path = tmp_path / "scene.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["outside"] = h5py.ExternalLink(str(good), "cube")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    assert set(hdf5.members(path)) == {""}
    with pytest.raises(SceneError, match="3-D"):
        io.read_scene(path)


# The process, whatever runs in it


def asked(tmp_path, program):
    script = tmp_path / "script.py"
    script.write_text(f"import os, sys\nline = sys.stdin.readline()\n{program}\n")
    return Server(script, "HDF5").ask(tmp_path / "scene.h5", "describe", True)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("os.abort()", "dies (SIGABRT)"),
        ("sys.exit(3)", "dies (exit code 3)"),
        ("print('half an answer', end='')", "dies (exit code 0)"),
        ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass", "comes to no end"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_how_the_process_ended_is_told(tmp_path, program, words):
    with pytest.raises(SceneError) as caught:
        asked(tmp_path, program)
    assert str(caught.value) == (
        f"{tmp_path / 'scene.h5'}: expected a file that the library HDF5 can read, found one on which it {words}; "
        "it is damaged or made to do harm: get it again"
    )


def test_what_the_library_says_is_told(tmp_path):
    with pytest.raises(OSError, match="no such array"):
        asked(tmp_path, """print('{"error": "no such array"}')""")


def test_a_process_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: str(tmp_path / "missing"))
    with pytest.raises(SceneError, match="expected to start a process that reads it with HDF5"):
        asked(tmp_path, "")


def test_another_array_than_was_described_is_not_taken(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("""import sys
for line in sys.stdin:
    print('{"shape": [1000000000], "dtype": "<f4"}', flush=True)
""")
    with pytest.raises(OSError, match="another array than was described"):
        Server(script, "HDF5").read(tmp_path / "scene.h5", (2, 3), np.dtype("<f4"), "cube", [])
