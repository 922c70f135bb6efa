"""``python -m scoread_jax``, where the command ``scoread`` is not on the path."""

import sys

from scoread_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
