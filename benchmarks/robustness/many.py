"""A day of scoring, compressed: many scenes in one process, whose memory stays and which compiles once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from benchmarks.robustness import tiny
from scoread_jax import pipeline

_SHAPES = ((12, 9), (10, 14))
_STEPS = 20


def many(count: int) -> dict[str, Any]:
    """Train on and score ``count`` scenes, of two shapes in turn.

    Returns:
        Resident megabytes along the way, and functions compiled before and after the first scene of each shape.
    """
    compiled = 0

    def hear(event: str, duration_secs: float, **_: Any) -> None:
        nonlocal compiled
        compiled += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(hear)
    recipe, resident, first = tiny.recipe(), [], 0
    for number in range(count):
        rows, cols = _SHAPES[number % len(_SHAPES)]
        pipeline.detect(tiny.scene(number, rows, cols), recipe)
        if number == len(_SHAPES) - 1:
            first = compiled
        if number % max(1, count // _STEPS) == count // _STEPS - 1:
            resident.append(round(_resident() / 1e6, 1))
    after = {"compiled for the first of each shape": first, "compiled after that": compiled - first}
    return {"scenes": count, "resident MB": resident} | after


def _resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
