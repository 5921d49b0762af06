"""`python bench/quality`, and `python -m bench.quality`, which is the same."""

import sys
from pathlib import Path

if not __package__:  # started by its folder: what it imports is named from the root of the clone on
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.quality.command import main

if __name__ == "__main__":
    sys.exit(main())
