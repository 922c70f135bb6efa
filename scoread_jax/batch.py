"""Many scenes, one folder each: which there are, which are done, which failed.

Everything is known from the folders, so a batch that was stopped goes on where it was, and several batches on one
list, of one machine or of many, share the work.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scoread_jax import config as configuration
from scoread_jax import results
from scoread_jax.config import Config
from scoread_jax.errors import SceneError
from scoread_jax.io import lock, write_json, write_text
from scoread_jax.scene import Scene, digest

_RESULT = "result.json"
_FAILURE = "failure.json"
_COLUMNS: tuple[str, ...] = (
    "scene", "folder", "status", "rows", "cols", "bands", "pixels", "auc", "average_precision", "seconds", "reason"
)  # fmt: skip


class Task(NamedTuple):
    """A scene of a batch.

    Attributes:
        scene: its file, or its public name.
        folder: where its results go.
    """

    scene: str
    folder: Path

    @property
    def lock(self) -> Path:
        """The file that its worker holds."""
        return self.folder.with_name(f".{self.folder.name}.lock")


def tasks(entries: Sequence[str], out: Path) -> tuple[Task, ...]:
    """Find the scenes of a batch.

    Args:
        entries: scenes; patterns such as ``archive/**/*.mat``; text files with one of either a line, relative to the
            text file, ``#`` for a comment.
        out: the batch's folder.

    Returns:
        Each scene once, in the order given. Its folder has its name, and a digest of its path too where scenes share
        that name.

    Raises:
        SceneError: for a list that cannot be read, a pattern that nothing matches, and where no scene is left.
    """
    scenes = list(dict.fromkeys(_expand(entries)))
    if not scenes:
        raise SceneError(f"{entries[0]}: expected a list of scenes, one a line, found none; add some")
    names = Counter(Path(scene).stem for scene in scenes)
    return tuple(Task(scene, out / _folder_name(scene, names[Path(scene).stem] > 1)) for scene in scenes)


def is_complete(task: Task, image: Scene, config: Config, detector: str) -> bool:
    """Whether the folder holds the results of this very scene, configuration and detector."""
    if not all((task.folder / name).is_file() for name in results.FILES):
        return False
    record = _read(task.folder / _RESULT)
    wanted = json.loads(json.dumps(configuration.as_table(config)))
    try:
        found = record["scene"]["sha256"], record["config"], record["detector"]
    except (KeyError, TypeError):
        return False
    return found == (digest(image), wanted, detector) and not (task.folder / _FAILURE).exists()


def begin_writing(task: Task) -> None:
    """Take back what says that the folder is complete, before its files are replaced one by one."""
    (task.folder / _RESULT).unlink(missing_ok=True)
    (task.folder / _FAILURE).unlink(missing_ok=True)


def note_failure(task: Task, reason: str) -> None:
    """Leave word of a failure in the scene's folder."""
    task.folder.mkdir(parents=True, exist_ok=True)
    write_json(task.folder / _FAILURE, {"scene": task.scene, "reason": reason})


def summarise(found: Iterable[Task], out: Path) -> list[dict[str, Any]]:
    """Write ``summary.csv`` and ``summary.json`` of all scenes as their folders are now.

    Returns:
        By scene: ``status`` (done, failed or missing), its size, figures of merit where there is ground truth, and the
        reason of a failure.
    """
    # The last one of several batches to come here has waited for the others, and sees everything.
    with lock(out / ".summary.lock", patient=True):
        rows = [_row(task) for task in found]
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(out / "summary.csv", text.getvalue())
        write_json(out / "summary.json", rows)
    return rows


def _row(task: Task) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS) | {"scene": task.scene, "folder": str(task.folder)}
    if (task.folder / _FAILURE).is_file():
        return row | {"status": "failed", "reason": (_read(task.folder / _FAILURE) or {}).get("reason")}
    record = _read(task.folder / _RESULT)
    if record is None:
        return row | {"status": "missing"}
    figures = record["metrics"] or {}
    return (
        row
        | {name: record["scene"][name] for name in ("rows", "cols", "bands", "pixels")}
        | {name: figures.get(name) for name in ("auc", "average_precision")}
        | {"status": "done", "seconds": record["seconds"]}
    )


def _expand(entries: Iterable[str]) -> Iterable[str]:
    for entry in entries:
        if Path(entry).suffix == ".txt":
            for line in _lines(Path(entry)):
                yield from _matching(line, Path(entry).parent)
        else:
            yield from _matching(entry, Path())


def _matching(entry: str, beside: Path) -> Iterable[str]:
    """Scenes that a pattern matches, or the scene itself; relative paths are relative to ``beside``."""
    path = beside / entry
    if glob.has_magic(entry) and not path.exists():
        found = sorted(glob.glob(str(path), recursive=True))
        if not found:
            raise SceneError(f"{path}: expected files that match, found none; check the pattern")
        return found
    # What is not there may be a public name; if not, it fails when its turn comes.
    return [str(path) if path.exists() or path.suffix else entry]


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise SceneError(f"{path}: expected a text file, one scene a line, found: {reason}; check the path") from error
    return [line for text in lines if (line := text.partition("#")[0].strip())]


def _folder_name(scene: str, shared: bool) -> str:
    path = Path(scene)
    mark = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]
    return f"{path.stem}-{mark}" if shared else path.stem


def _read(path: Path) -> Any:
    """What a JSON file holds; None for one that is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
