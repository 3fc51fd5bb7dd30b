"""A chain of commands, for `ray job submit --working-dir . -- python jobs/chain.py CHAIN.yaml`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["chain", *sys.argv[1:]]))
