"""A study, for `ray job submit --working-dir . -- python jobs/study.py STUDY.yaml`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", *sys.argv[1:]]))
