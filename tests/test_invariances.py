"""What a map must not depend on; ``python -m benchmarks.robustness invariances`` tries a thousand examples of each."""

from __future__ import annotations

import pytest

from benchmarks.robustness import invariances

# Those of blocks and devices are compiled for many shapes.


@pytest.mark.parametrize("name", ["masked_pixels", "units", "mirrors", "chunks", "company"])
def test_maps_do_not_depend_on(name):
    invariances.hold(name, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blocks", "devices"])
def test_maps_do_not_depend_on_what_takes_long(name):
    invariances.hold(name, 30)
