"""Benchmarks, for `ray job submit --working-dir . -- python jobs/bench.py label --rows 512`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
