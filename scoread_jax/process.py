"""What the process of a command asks of its interpreter and its libraries."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Iterator

# Objects made beyond those freed; the interpreter's own is 700.
_COLLECTED_EVERY = 10_000
# Arrays from this size on are given back when they are freed.
_GIVEN_BACK_BYTES = 4 << 20
_M_MMAP_THRESHOLD = -3


def prepare() -> None:
    """Settle threads, memory and end, here; the first two also in the processes that are started from here. A user's
    own choice stays.

    To be called before NumPy is loaded.
    """
    # OpenBLAS's threads wait for each other by spinning, where JAX's and the process that draws want the cores: small
    # products took ten times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # glibc learns from the first large array that is freed to keep all later ones, in a store for each thread.
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        os.environ["MALLOC_MMAP_THRESHOLD_"] = str(_GIVEN_BACK_BYTES)
        _set_mmap_threshold(_GIVEN_BACK_BYTES)
    # An ending interpreter goes over all of JAX's objects a few times, half a second, and the system frees them anyway.
    atexit.register(gc.freeze)


def _set_mmap_threshold(size: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    # Other C libraries have no such function.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, size)


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for unused cycles less often.

    What JAX makes of itself at its start stays; going over it again and again takes a twentieth of a short run.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_COLLECTED_EVERY, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
