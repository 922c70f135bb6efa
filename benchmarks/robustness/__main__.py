"""What a run survives, each a figure in ``benchmarks/robustness.md``.

``python -m benchmarks.robustness TEST [--quick]`` for one, ``all`` for all in turn; the results of the others stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import environment, read_result, write_result
from benchmarks.robustness import cost, damage, disk, fuzz, guided, invariances, kills, many, seeds, table

NAME = "robustness"


def _fuzz(quick: bool, readers: list[str], minutes: float, go_on: bool) -> dict[str, Any]:
    before = (read_result(NAME) or {}).get("fuzz", {}) if go_on else {}
    count = 500 if quick else 100_000
    return {reader: fuzz.fuzz(reader, count, minutes, before.get(reader)) for reader in readers}


TESTS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "kills": lambda quick: kills.kills(6 if quick else 200),
    "damage": lambda quick: damage.damage(20 if quick else 500),
    "cost": lambda quick: cost.cost(3 if quick else 40),
    "disk": lambda quick: disk.disk(4 if quick else 40),
    "fuzz": _fuzz,
    "guided": lambda quick, minutes: guided.guided(5 if quick else int(60 * min(minutes, 1))),
    "invariances": lambda quick: invariances.invariances(10 if quick else 1000),
    "many": lambda quick: many.many(40 if quick else 2000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", choices=[*TESTS, "all"])
    parser.add_argument("--quick", action="store_true", help="few of each, and nothing written")
    parser.add_argument(
        "--readers", nargs="+", choices=list(seeds.SEEDS), default=list(seeds.SEEDS), help="of fuzz: these alone"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="of fuzz and guided: for each reader at most"
    )
    parser.add_argument("--go-on", action="store_true", help="of fuzz: from the file where the last run stopped")
    options = parser.parse_args()
    for name in TESTS if options.test == "all" else [options.test]:
        chosen = {
            "fuzz": {"readers": options.readers, "minutes": options.minutes, "go_on": options.go_on},
            "guided": {"minutes": options.minutes},
        }
        found = TESTS[name](options.quick, **chosen.get(name, {}))
        print(name, found, flush=True)
        if not options.quick:
            results = read_result(NAME) or {}
            before = results.get(name, {}) if name == "fuzz" else {}
            write_result(NAME, results | {"environment": environment(), name: before | found})
            table.write()


if __name__ == "__main__":
    main()
