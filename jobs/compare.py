"""Methods side by side, for `ray job submit --working-dir . -- python jobs/compare.py JOB.yaml`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
