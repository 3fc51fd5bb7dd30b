"""F1 of models, files and runs, for `ray job submit --working-dir . -- python jobs/evaluate.py ...`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
