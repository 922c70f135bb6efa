"""Shared fixtures: the folders of real data, one place that decides how jax runs in tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# The compile cache makes a second run of the tests several times faster than the first.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Several test processes may share an accelerator (`make test`).
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# No test asserts a time, nor does hypothesis.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / default)
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set {variable})")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scenes with ground truth."""
    return _folder("SCOREAD_DATA_DIR", "data")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of the authors' networks, golden values and published maps."""
    return _folder("SCOREAD_REFERENCE_DIR", "reference")


@pytest.fixture(scope="session")
def on_eight_devices() -> Callable[[str], Any]:
    """A function of a script: what it prints as JSON in a process of its own, which has eight devices."""

    def run(script: str) -> Any:
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
