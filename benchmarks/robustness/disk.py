"""Disks that fill up or are read-only, and files that go away: a clear error, nothing half-written."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness import seeds, tiny
from scoread_jax import checkpoint, config, io, pipeline, results
from scoread_jax.detect import Detector
from scoread_jax.errors import ScoreADError
from scoread_jax.io import readers

_SUFFIXES = (".npy", ".npz", ".mat", ".nc", ".tif", ".img", ".zarr", ".png")
_DISK = 8 << 20
_ROUNDED = 32 << 10  # bytes that a disk takes beside those of the files, in pages and folders
_FORMS = ("npy", "mat v5, not compressed", "mat v7.3", "ENVI", "GeoTIFF", "NetCDF-4", "EMIT", "PRISMA", "Zarr")

Write = Callable[[Path, int], Any]


def disk(count: int) -> dict[str, Any]:
    """Fill a small disk to ``count`` levels, and write each kind of output over an earlier one; take files away.

    Returns:
        For each kind of output how often there was room, how often an error of ours, and what else was seen.
    """
    detector, _ = pipeline.detect(tiny.scene(), tiny.recipe())
    written, read_only = {}, {}
    for name, write in _outputs(detector).items():
        with _small_disk() as place:
            write(place, 0)
            whole = 1.2 * sum(map(len, _content(place).values())) + _ROUNDED
            found = [_tried(place, write, room) for room in np.linspace(0, whole, count, dtype=int)]
            written[name] = {word: found.count(word) for word in dict.fromkeys(found)}
            _remount(place, "ro")
            read_only[name] = _outcome(place, write)
            _remount(place, "rw")
    return {"disk": "tmpfs", "full": written, "read-only": read_only, "removed while read": _removed()}


def _outputs(detector: Detector) -> Mapping[str, Write]:
    """Each kind of output, by what writes a version of it into a folder."""
    maps = np.random.default_rng(0).normal(size=(2, 60, 50)).astype(np.float32)
    image = tiny.scene(rows=60, cols=50)

    def results_of(folder: Path, version: int) -> None:
        results.write(results.in_folder(folder / "out", None), image, maps[version], config.load("demo"), version)

    def a_map(suffix: str) -> Write:
        return lambda folder, version: io.write_map(folder / f"map{suffix}", maps[version])

    def a_detector(folder: Path, version: int) -> None:
        checkpoint.save(folder / "detector", detector)

    return {
        "results": results_of,
        **{f"map{suffix}": a_map(suffix) for suffix in _SUFFIXES},
        "detector": a_detector,
    }


def _tried(place: Path, write: Write, room: int) -> str:
    """Leave so much room, and write another version over the earlier one."""
    for each in place.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    write(place, 0)
    (place / "filler").write_bytes(bytes(max(0, shutil.disk_usage(place).free - room)))
    return _outcome(place, write)


def _outcome(place: Path, write: Write) -> str:
    before = _content(place)
    try:
        write(place, 1)
    except ScoreADError as error:
        clear = str(place) in str(error) and "\n" not in str(error)
        same = _content(place) == before
        return "refused, all else as before" if clear and same else f"refused: {error}, left as before: {same}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "written"


def _content(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def _removed() -> dict[str, str]:
    """Read of each format what a file holds, take the file away, and ask for the cube."""
    found = {}
    for name in _FORMS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / seeds.SEEDS[name](Path(folder))
            contents = readers.read(path)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                for each in contents.arrays.values():
                    np.asarray(each[:])
                found[name] = "in memory before"
            except ScoreADError as error:
                found[name] = "refused" if str(path) in str(error) else str(error)
    return found


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    """A small disk of its own, which the system must allow to be mounted: that takes root."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def _remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", place], check=True)
