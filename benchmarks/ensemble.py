"""An ensemble in one compiled loop against its members one after the other, as the default trains them.

    python -m benchmarks.ensemble [--device cpu|gpu|tpu] [--rounds 5] [--quick]

Two minutes on two CPU cores.
"""

from __future__ import annotations

from typing import Any

from benchmarks import timing
from benchmarks.train_epoch import epoch
from scoread_jax import config

MEMBERS = 8
CASES = (("default", 30), ("scoread-hydice", 162))
STEPS = 160


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    steps, cases = (4, CASES[:1]) if chosen.quick else (STEPS, CASES)
    rows: list[dict[str, Any]] = []
    for preset, bands in cases:
        batch = config.load(preset).train.batch_size
        alone = epoch(preset, bands, batch, steps)
        together = epoch(preset, bands, batch, steps, MEMBERS)
        taken = timing.interleaved({"one": alone, "together": together}, chosen.rounds)
        ratio = MEMBERS * taken["one"]["median"] / taken["together"]["median"]
        rows.append(
            {"preset": preset, "batch": batch, "members": MEMBERS, "steps": steps, "seconds": taken, "ratio": ratio}
        )
        print(f"{preset}: {MEMBERS} members together {ratio:.2f} times as fast as one after the other")
    timing.write("ensemble", chosen, {"rows": rows})


if __name__ == "__main__":
    main()
