"""A scheduled refresh, for `ray job submit --working-dir . -- python jobs/refresh.py JOB.yaml`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["refresh", *sys.argv[1:]]))
