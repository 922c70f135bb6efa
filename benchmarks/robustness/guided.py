"""Files that atheris makes on its way to lines of our readers that no file has reached yet."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.robustness.seeds import SEEDS

_DONE = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+)", re.MULTILINE)


def guided(seconds: int) -> dict[str, Any]:
    """Let atheris work on each reader for so long, in a process of its own.

    Returns:
        By reader: the files that it was given, the branches of our code that they reached, and what ended it early.
    """
    if find_spec("atheris") is None:
        raise SystemExit("guided: expected atheris, found none; pip install atheris")
    return {reader: _guided(reader, seconds) for reader in SEEDS}


def _guided(reader: str, seconds: int) -> dict[str, Any]:
    from benchmarks.robustness.fuzz import HANG_SECONDS

    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        options = [f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS:g}", "-rss_limit_mb=4096", "-max_len=65536"]
        command = [sys.executable, "-m", "benchmarks.robustness.guided", reader, folder, *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    last = _DONE.findall(done.stderr)
    files, branches = map(int, last[-1]) if last else (0, 0)
    finding = "" if done.returncode == 0 and last else done.stderr.split("ERROR: ")[-1].partition("\n")[0]
    return {"files": files, "branches": branches, "seconds": seconds, "finding": finding}


def _main(reader: str, folder: Path, *options: str) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["scoread_jax.io"]):  # so nothing above may import it
        from benchmarks.robustness.fuzz import Files
        from scoread_jax import io
    from scoread_jax.errors import ScoreADError

    for name in ("corpus", "files"):
        os.mkdir(folder / name)
    files = Files(reader, folder / "files")
    # Of several files the one that says how the others are read.
    header = next((path for path in files.good if path.suffix in (".hdr", ".json")), files.path)
    (folder / "corpus" / "good").write_bytes(files.good[header])

    def one(data: bytes) -> None:
        header.write_bytes(data)
        with contextlib.suppress(ScoreADError):
            io.read_scene(files.path)

    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder / "corpus")], one)
    atheris.Fuzz()


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
