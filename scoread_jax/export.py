"""A trained detector as one file: the network member compiled ahead of time (``jax.export``), and what goes with it.

The file holds a StableHLO program for any number of pixels and for several platforms, and needs neither the network's
Python code nor its parameters. What needs no training is computed from the configuration, as always.

Layout: magic, length of the header (uint64, little endian), SHA-256 of all that follows, the header as JSON, the
program, the view's arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import config as configuration
from scoread_jax.checkpoint import record
from scoread_jax.detect import Array, Detector, Program, Rings
from scoread_jax.errors import CheckpointError, ConfigError, ScoreADError
from scoread_jax.extras import extra
from scoread_jax.io import atomic_write
from scoread_jax.parallel import map_calls
from scoread_jax.views import View

PLATFORMS = ("cpu", "cuda", "tpu")

_MAGIC = b"scoread-export\n"
_FORMAT = 1
_PREFIX = len(_MAGIC) + 8 + 32
_LARGEST_HEADER = 1 << 24
# Calls out of a program that JAX itself makes: checks of shapes, linear algebra. Others could be anything.
_HARMLESS_CALLS = re.compile(r"custom_call @\"?(shape_assertion|Sharding|mhlo\.|lapack_|cusolver_|hipsolver_)")


class _Array(NamedTuple):
    """How an array lies in the file."""

    shape: tuple[int, ...]
    dtype: str = "<f4"

    @property
    def size(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def save(path: str | Path, detector: Detector, score: Any, multiple: int, platforms: Sequence[str] = PLATFORMS) -> None:
    """Write a detector to a file.

    Args:
        path: the file; one that exists is replaced.
        detector: trained.
        score: its network member, ``(key, spectra [pixels, coordinates], places [pixels], rings) -> [pixels, times]``,
            for pixels in multiples of ``multiple``; see ``scoring.network_scores``.
        multiple: of pixels.
        platforms: that it is to run on.

    Raises:
        MissingExtraError: without flatbuffers.
        ConfigError: for a platform that is not known.
        ScoreADError: when the system refuses to write.
    """
    unknown = sorted(set(platforms) - set(PLATFORMS))
    if unknown or not platforms:
        raise ConfigError(f"platforms must be of {', '.join(PLATFORMS)}, found {', '.join(unknown) or 'none'}")
    extra("flatbuffers", "export")
    program = bytes(lower(detector, score, multiple, platforms).serialize())
    view = detector.view
    arrays = {} if view is None else {"centre": view.centre, "basis": view.basis}
    header = record.describe(detector) | {
        "format": _FORMAT,
        "multiple": multiple,
        "program": len(program),
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
    }
    text = json.dumps(header).encode()
    body = b"".join([text, program, *(np.asarray(array, "<f4").tobytes() for array in arrays.values())])
    with atomic_write(path) as temporary:
        temporary.write_bytes(_MAGIC + len(text).to_bytes(8, "little") + hashlib.sha256(body).digest() + body)


def lower(detector: Detector, score: Any, multiple: int, platforms: Sequence[str] = PLATFORMS) -> Any:
    """The program as JAX has it in memory; arguments as of ``save``. No device of the platforms is needed."""
    from jax import export

    def program(key: jax.Array, spectra: jax.Array, places: jax.Array, *rings: jax.Array) -> jax.Array:
        return score(jax.random.wrap_key_data(key), spectra, places, Rings(*rings) if rings else None)

    pixels, table = export.symbolic_shape(f"{multiple}*pixels, table")
    coordinates = detector.bands if detector.view is None else detector.view.basis.shape[1]
    shape: Any = jax.ShapeDtypeStruct
    arguments = [
        shape(jax.random.key_data(jax.random.key(0)).shape, jnp.uint32),
        shape((pixels, coordinates), jnp.float32),
        shape((pixels,), jnp.int32),
    ]
    ring = detector.config.context
    if ring.conditional:
        arguments += [
            shape((table, coordinates), jnp.float32),
            shape((pixels, ring.outer**2 - ring.inner**2), jnp.int32),
        ]
    return export.export(jax.jit(program), platforms=list(platforms))(*arguments)


def is_exported(path: str | Path) -> bool:
    """Whether this is a file, which a detector's directory is not."""
    return Path(path).is_file()


def load(path: str | Path) -> tuple[Detector, str]:
    """Read what ``save`` wrote.

    Returns:
        The detector, whose network member runs as it was exported, and its SHA-256.

    Raises:
        CheckpointError: for a file that is damaged, cut short, of another kind or of a newer format.
        MissingExtraError: without flatbuffers.
    """
    path = Path(path)
    header, body, digest = _read(path)
    try:
        config = configuration.from_table(header["config"])
        arrays = {name: _Array(tuple(map(int, shape))) for name, shape in header["arrays"].items()}
        length = int(header["program"])
        sizes = [length, *(array.size for array in arrays.values())]
        if min(sizes) < 0 or sum(sizes) != len(body):
            raise ValueError(f"{len(body)} bytes after the header where it says {sum(sizes)}")
        found, begin = {}, length
        for name, array in arrays.items():
            values = np.frombuffer(body, array.dtype, math.prod(array.shape), begin)
            found[name], begin = values.reshape(array.shape), begin + array.size
        view = View(config.view.kind == "root", found["centre"], found["basis"]) if found else None
        detector = Detector(
            config,
            # What stands in for the parameters where detectors are told apart.
            {"params": {}, "constants": {"digest": np.frombuffer(bytes.fromhex(digest), np.uint8)}},
            *record.fitted(header),
            view,
            program=_program(path, bytes(body[:length]), int(header["multiple"])),
        )
    except ScoreADError:
        raise
    except Exception as error:  # a header of anybody's making
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    return detector, digest


def _read(path: Path) -> tuple[dict[str, Any], memoryview, str]:
    """The header, what follows it, and the digest of both."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: expected an exported detector, found: {error.strerror}") from error
    if not data.startswith(_MAGIC) or len(data) < _PREFIX:
        raise CheckpointError(
            f"{path}: expected a detector's directory or a file of `scoread export`, found another kind of file; "
            "check the path"
        )
    length = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 8], "little")
    digest, body = data[len(_MAGIC) + 8 : _PREFIX], memoryview(data)[_PREFIX:]
    if hashlib.sha256(body).digest() != digest:
        raise _damaged(path, "its digest is another")
    if length > min(_LARGEST_HEADER, len(body)):
        raise _damaged(path, f"a header of {length} bytes")
    try:
        header = json.loads(bytes(body[:length]))
        version = header["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "its header cannot be read") from error
    if version != _FORMAT:
        raise CheckpointError(
            f"{path}: expected export format {_FORMAT}, found {version!r}; use the scoread_jax that wrote it"
        )
    return header, body[length:], digest.hex()


def _program(path: Path, data: bytes, multiple: int) -> Program:
    from jax import export

    extra("flatbuffers", "export")
    exported = export.deserialize(bytearray(data))
    calls = [line for line in exported.mlir_module().splitlines() if "custom_call" in line]
    if not all(_HARMLESS_CALLS.search(line) for line in calls):
        raise _damaged(path, "its program calls out of itself")
    if multiple < 1:
        raise _damaged(path, f"a multiple of {multiple} pixels")
    run = jax.jit(exported.call)

    def part(shared: Any, pixels: Any) -> jax.Array:
        (key, table), (spectra, places, indices) = shared, pixels
        return run(key, spectra, places) if table is None else run(key, spectra, places, table, indices)

    def program(key: jax.Array, spectra: Array, places: Array, rings: Rings | None, at_least: int) -> np.ndarray:
        table, indices = (None, None) if rings is None else rings
        shared, pixels = (jax.random.key_data(key), table), (spectra, places, indices)
        platforms = tuple("gpu" if name in ("cuda", "rocm") else name for name in exported.platforms)
        return map_calls(part, shared, pixels, multiple=multiple, at_least=at_least, platforms=platforms).T

    return program


def _damaged(path: Path, reason: str) -> CheckpointError:
    short = " ".join(reason.split())[:200]
    return CheckpointError(
        f"{path}: expected an exported detector as it was written, found it damaged ({short}); export it again"
    )
