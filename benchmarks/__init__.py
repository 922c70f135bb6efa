"""One command for every figure that is quoted: each writes JSON under ``benchmarks/results``."""
