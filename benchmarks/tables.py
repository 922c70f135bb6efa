"""Turn every committed result into the tables of ``benchmarks/README.md``.

python -m benchmarks.tables
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import accuracy_tables, method_tables, throughput_tables
from benchmarks.common import RESULTS, read_result
from scoread_jax.io import write_text

_TABLE_MARK, _END_MARK = "<!-- table: python -m benchmarks.tables -->", "<!-- end -->"

_SPEED = (
    "cold_start",
    "end_to_end",
    "against_pytorch",
    "roofline",
    "breakdown",
    "score_scene",
    "scaling",
    "train_epoch",
    "early_stopping",
    "lowerings",
    "estimators",
    "sharding",
    "ensemble",
    "large_scene",
)

_INTRODUCTION = """# Benchmarks

Every table is made by `python -m benchmarks.tables` from the JSON under `results/`, and every JSON by the command above
its table. Scenes come from `SCOREAD_DATA_DIR`, the authors' published files from `SCOREAD_REFERENCE_DIR`. Figures are
AUC / AP unless said, mean ± sample standard deviation over seeds; ground truth is looked at when a map is final.
What was tried on the way to the default, with figures, is in [RESEARCH.md](RESEARCH.md).
"""


def main() -> None:
    """Write the page."""
    parts = [_INTRODUCTION]
    for name, section in (
        ("accuracy", accuracy_tables.accuracy),
        ("reproduce", method_tables.reproduce),
        ("authors_networks", method_tables.authors_networks),
        ("against_peers", method_tables.against_peers),
        *((name, getattr(throughput_tables, name)) for name in _SPEED),
        ("large_objects", method_tables.large_objects),
        ("false_alarms", method_tables.false_alarms),
    ):
        # What was made on an accelerator, or on another CPU, lies beside, under the device's name.
        for path in (RESULTS / f"{name}.json", *sorted(RESULTS.glob(f"{name}-*.json"))):
            result = read_result(path.stem)
            if result is not None:
                parts.append(section(result))
    write_text(RESULTS.parent / "README.md", "\n".join(parts) + "\n")
    accuracy = read_result("accuracy")
    if accuracy is not None:
        _replace_summary(RESULTS.parent.parent / "README.md", accuracy_tables.summary(accuracy["runs"]))


def _replace_summary(page: Path, summary: str) -> None:
    """Put the means between the two marks in the project's README."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(_TABLE_MARK)
    _, end, after = rest.partition(_END_MARK)
    write_text(page, f"{before}{mark}\n{summary}\n{end}{after}")


if __name__ == "__main__":
    main()
