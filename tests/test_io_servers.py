"""HDF5 and GDAL in processes of their own: what kills or traps it ends in one sentence, and the next file is read."""

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
from scoread_jax.io.readers import hdf5, raster
from scoread_jax.io.readers.server import Server

CUBE = np.random.default_rng(0).integers(1, 99, (4, 5, 6)).astype(np.float32)
DAMAGED = Path(__file__).with_name("damaged")


def save(path):
    """A file of a library that is read in a process of its own."""
    if path.suffix == ".tif":
        rasterio = pytest.importorskip("rasterio")
        size = {
            "height": 4,
            "width": 5,
            "count": 6,
            "dtype": "float32",
            "transform": rasterio.Affine(2, 0, 9, 0, -2, 9),
        }
        with rasterio.open(path, "w", driver="GTiff", **size) as file:
            file.write(np.moveaxis(CUBE, 2, 0))
    else:
        with h5py.File(path, "w") as file:
            file["cube"] = CUBE
    return path


@pytest.fixture(params=[".nc", ".tif"])
def good(request, tmp_path):
    return save(tmp_path / f"good{request.param}")


def server_of(path):
    return raster._SERVER if path.suffix == ".tif" else hdf5._SERVER


def damaged(folder, name):
    packed = next(DAMAGED.glob(f"{name}.*"))
    path = folder / packed.stem
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def is_read(path):
    np.testing.assert_array_equal(io.read_scene(path).cube[:], CUBE)
    return True


# Found by ``python -m benchmarks.robustness fuzz``. A newer library may find other words for them.


@pytest.mark.parametrize("name", ["crash", "endless", "greedy"])
def test_files_that_end_a_library_do_not_end_this_process(tmp_path, name):
    path = damaged(tmp_path, name)
    with pytest.raises(SceneError) as caught:
        io.read_scene(path)
    assert str(caught.value).startswith(str(path))
    assert "get it again" in str(caught.value)
    assert is_read(save(tmp_path / f"good{path.suffix}".replace(".mat", ".nc")))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
@pytest.mark.parametrize(("side", "sources", "words"), [(40_000, 1, "cannot allocate"), (5000, 1000, "to no end")])
def test_a_few_bytes_do_not_keep_gdal_busy(tmp_path, side, sources, words):
    """An image of 2 × 1 pixels, each the mean of millions that no file holds."""
    pytest.importorskip("rasterio")
    empty = '<VRTRasterBand dataType="Byte" band="1"/>'
    (tmp_path / "inner.vrt").write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{empty}</VRTDataset>', encoding="utf-8"
    )
    source = (
        '<SimpleSource resampling="average"><SourceFilename relativeToVRT="1">inner.vrt</SourceFilename>'
        f'<SrcRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/>'
        '<DstRect xOff="0" yOff="0" xSize="2" ySize="1"/></SimpleSource>'
    )
    band = f'<VRTRasterBand dataType="Byte" band="1">{source * sources}</VRTRasterBand>'
    path = tmp_path / "scene.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="2" rasterYSize="1">{band}{empty.replace("1", "2")}</VRTDataset>', encoding="utf-8"
    )
    with pytest.raises(SceneError, match=words) as caught:
        io.read_scene(path)
    assert str(caught.value).startswith(str(path))
    assert is_read(save(tmp_path / "good.tif"))


def test_the_libraries_are_never_used_here(good, monkeypatch):
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("opened in this process"))
    if good.suffix == ".tif":
        monkeypatch.setattr("rasterio.open", lambda *_: pytest.fail("opened in this process"))
    assert is_read(good)


def test_a_process_that_was_killed_in_between_is_replaced(good):
    cube = io.read_scene(good).cube
    process = server_of(good)._process
    process.kill()
    process.wait()
    np.testing.assert_array_equal(cube[1:3], CUBE[1:3])
    assert server_of(good)._process is not process


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
def test_arrays_in_other_files_are_not_followed(tmp_path, kind):
    path, good = tmp_path / "scene.h5", save(tmp_path / "good.nc")
    with h5py.File(path, "w") as file:
        if kind == "raw data":
            file.create_dataset("cube", (4, 5, 6), "u1", external=[("/etc/hostname", 0, 120)])
        else:
            layout = h5py.VirtualLayout((4, 5, 6), "f4")
            layout[:] = h5py.VirtualSource(str(good), "cube", (4, 5, 6))
            file.create_virtual_dataset("cube", layout)
    with pytest.raises(SceneError, match="found cube in other files"):
        io.read_scene(path)


def test_links_to_other_files_are_not_followed(tmp_path):
    path, good = tmp_path / "scene.mat", save(tmp_path / "good.nc")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["outside"] = h5py.ExternalLink(str(good), "cube")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    assert set(hdf5.members(path)) == {""}
    with pytest.raises(SceneError, match="3-D"):
        io.read_scene(path)


# The process, whatever runs in it


def server(tmp_path, program):
    """One that runs a program when it is asked for ``describe``."""
    script = tmp_path / "script.py"
    lines = program.replace("\n", "\n    ")
    script.write_text(f"import os, sys\n\ndef command(limit, *_):\n    {lines}\n\nCOMMANDS = {{'describe': command}}\n")
    return Server(script, "HDF5")


def asked(tmp_path, program):
    return server(tmp_path, program).ask(tmp_path / "scene.h5", "describe", True)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("os.abort()", "dies (SIGABRT)"),
        ("sys.exit(3)", "dies (exit code 3)"),
        ("os.write(1, b'half an answer')\nos._exit(0)", "dies (exit code 0)"),
        ("limit(0, 0)\nwhile True: pass", "comes to no end"),
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


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_memory_is_limited_and_asked_for(tmp_path):
    assert asked(tmp_path, "limit(300 << 20, 9)\nreturn {'bytes': len(bytes(300 << 20))}") == {"bytes": 300 << 20}
    with pytest.raises(OSError, match="MemoryError"):
        asked(tmp_path, "limit(0, 9)\nbytes(300 << 20)")


@pytest.mark.parametrize("program", ["raise ValueError('no such\\n array')", "import no.such.module"])
def test_what_the_library_says_is_told(tmp_path, program):
    with pytest.raises(OSError, match=r"^no such array$|^No module named 'no'$"):
        asked(tmp_path, program)


def test_a_process_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: str(tmp_path / "missing"))
    with pytest.raises(SceneError, match="expected to start a process that reads it with HDF5"):
        asked(tmp_path, "")


def test_another_array_than_was_described_is_not_taken(tmp_path):
    lying = server(tmp_path, "return {'shape': [1000000000], 'dtype': '<f4'}")
    with pytest.raises(OSError, match="another array than was described"):
        lying.read(tmp_path / "scene.h5", (2, 3), np.dtype("<f4"), "describe")
