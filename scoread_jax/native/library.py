"""C sources compiled once for a machine, kept beside its other compiled functions, and made known to XLA."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from scoread_jax.parallel import all_batched, compiled_folder, independent, merged

_SHARED = "pieces.h"

SWITCH = "SCOREAD_NATIVE"
"""Environment variable: 0 for XLA's programs alone."""

Sizes = tuple[tuple[str, int], ...]

_OPTIMISED = [
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-w",
    "-fPIC",
    "-shared",
]
# The processor at hand, as GCC and Clang name it, then whatever a compiler makes by itself.
_PROCESSORS = (["-march=native"], ["-mcpu=native"], [])
_MOST_SECONDS = 120
_MOST_SAID = 200
_ONE_AT_A_TIME = threading.Lock()


class NotCompiledError(Exception):
    """Why there is no library."""


def target(source: str, function: str, sizes: Sizes) -> str:
    """Compile a source and make one of its functions known to XLA for CPUs.

    Args:
        source: ``source.c`` in this folder.
        function: an XLA FFI handler there.
        sizes: macros.

    Returns:
        What XLA knows it by.

    Raises:
        NotCompiledError: where there is no compiler, or what it makes cannot be used.
    """
    with _ONE_AT_A_TIME:
        return _registered(source, function, sizes)


def over_pixels(known_as: str, shared: int, tail: Callable[..., tuple[int, ...]]) -> Callable[..., jax.Array]:
    """A compiled function of pixels.

    Args:
        known_as: see ``target``.
        shared: how many arguments come first that all pixels need whole; the others are [pixels, …].
        tail: of the arguments, to what follows the pixels in the result's shape.

    Returns:
        ``(arguments …) -> float32 [pixels, *tail]``.
    """

    def call(*given: jax.Array) -> jax.Array:
        made = jax.ShapeDtypeStruct((given[shared].shape[0], *tail(*given)), jnp.float32)
        return jax.ffi.ffi_call(known_as, made)(*given)

    return independent(call, shared)


def over_batch(call: Callable[..., jax.Array], shared: int) -> Callable[..., jax.Array]:
    """A function of a training batch, mapped once by ``vmap``: a batch of batches is a longer one.

    Args:
        call: ``(arguments …) -> [n, …]``, differentiable.
        shared: how many arguments come first that all of the batch need whole; where they differ, ``call`` is mapped.

    Returns:
        The function, which is differentiable where it is mapped.
    """

    @custom_vmap
    def whole(*given: jax.Array) -> jax.Array:
        return call(*given)

    @whole.def_vmap
    def more(size: int, batched: list[bool], *given: jax.Array) -> tuple[jax.Array, bool]:
        if any(batched[:shared]):
            return jax.vmap(call, [0 if many else None for many in batched])(*given), True
        each = all_batched(size, batched[shared:], given[shared:])
        found = call(*given[:shared], *map(merged, each))
        return found.reshape(*each[0].shape[:2], *found.shape[1:]), True

    return whole


@functools.cache
def _registered(source: str, function: str, sizes: Sizes) -> str:
    try:
        handler = jax.ffi.pycapsule(getattr(_library(source, sizes), function))
    except (OSError, AttributeError) as error:
        raise NotCompiledError(f"{shlex.join(_compiler())} makes nothing that can be loaded ({error})") from error
    # Compiled programs are kept and name it: another source, or other sizes, are another function.
    known_as = f"scoread_jax.{source}.{function}.{_digest(source, sizes)}"
    jax.ffi.register_ffi_target(known_as, handler, platform="cpu")
    return known_as


@functools.cache
def _library(source: str, sizes: Sizes) -> ctypes.CDLL:
    compiler = _compiler()
    folder, stem = compiled_folder(), f"{source}-{_digest(source, sizes, _processor(), *compiler)}"
    # Files tell their contents by their names: to load one that is cut short would end the process.
    for kept in folder.glob(f"{stem}-*.so"):
        with contextlib.suppress(OSError):
            if kept.name == _named(stem, kept):
                return ctypes.CDLL(str(kept))
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    keep = os.access(folder, os.W_OK)
    handle, written = tempfile.mkstemp(suffix=".so", dir=folder if keep else None)
    os.close(handle)
    try:
        _compile(compiler, Path(__file__).with_name(f"{source}.c"), sizes, written)
        loaded = ctypes.CDLL(written)
        if keep:
            os.replace(written, folder / _named(stem, Path(written)))
        return loaded
    finally:
        Path(written).unlink(missing_ok=True)


def _compile(compiler: list[str], source: Path, sizes: Sizes, out: str) -> None:
    macros = [f"-D{name}={value}" for name, value in sizes]
    said = ""
    for chosen in _PROCESSORS:
        command = [*compiler, *_OPTIMISED, *chosen, *macros, f"-I{jax.ffi.include_dir()}", str(source), "-o", out]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotCompiledError(f"{shlex.join(compiler)} does not work ({error})") from error
        if done.returncode == 0:
            return
        said = " ".join(done.stderr.split())[-_MOST_SAID:] or f"status {done.returncode}"
    raise NotCompiledError(f"{shlex.join(compiler)} cannot compile {source.name} ({said})")


def _compiler() -> list[str]:
    """The user's ``CC``, or the system's.

    Raises:
        NotCompiledError: where there is none, or none is wanted.
    """
    if os.environ.get(SWITCH) == "0":
        raise NotCompiledError(f"{SWITCH} is 0")
    try:
        asked = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise NotCompiledError(f"CC is no command ({error})") from error
    if asked:
        return asked
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    raise NotCompiledError("no C compiler is installed")


def _named(stem: str, library: Path) -> str:
    return f"{stem}-{hashlib.sha256(library.read_bytes()).hexdigest()[:16]}.so"


def _digest(source: str, sizes: Sizes, *more: str) -> str:
    text = b"".join(Path(__file__).with_name(name).read_bytes() for name in (f"{source}.c", _SHARED))
    said = repr((sizes, metadata.version("jaxlib"), more)).encode()
    return hashlib.sha256(text + said).hexdigest()[:16]


@functools.cache
def _processor() -> str:
    """What tells processors apart: a home folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = {line.partition(":")[0].strip(): line for line in reversed(lines)}
        found = [told[key] for key in ("model name", "flags", "Features") if key in told]
    except OSError:
        found = []
    return repr([platform.system(), platform.machine(), platform.processor(), *found])
