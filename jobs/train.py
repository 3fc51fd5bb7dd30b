"""Training, for `ray job submit --working-dir . -- python jobs/train.py TRAINING.yaml`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
