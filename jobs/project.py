"""The main job, for `ray job submit --working-dir . -- python jobs/project.py JOB.yaml`."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main(["project", *sys.argv[1:]]))
