"""What a command's process asks of its libraries."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

GROWS = """
import sys
from scoread_jax import process
if sys.argv[1] == "prepared":
    process.prepare()
import numpy as np
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) >> 10
np.ones(1 << 21)  # what glibc learns from
before, arrays, between = resident(), [], []
for _ in range(20):
    arrays.append(np.ones(1 << 20))
    between.append(bytearray(100_000))
del arrays
print(resident() - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt") or not Path("/proc/self/status").is_file(),
    reason="not glibc, or memory cannot be counted",
)
def test_memory_of_large_arrays_is_given_back():
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}

    def kept(which):
        command = [sys.executable, "-c", GROWS, which]
        done = subprocess.run(command, capture_output=True, check=True, text=True, env=usual, timeout=120)
        return int(done.stdout)

    if kept("as it is") < 100:  # of 160 MiB
        pytest.skip("this C library gives memory back by itself")
    assert kept("prepared") < 40


def test_an_ending_process_does_not_look_for_cycles_once_more():
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > len(gc.get_objects())));"
        "from scoread_jax import process; process.prepare()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=120)
    assert done.stdout == "True\n"
