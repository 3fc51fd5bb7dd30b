"""`python -m projner`, where the console script is not on the path."""

import sys

from projner.cli import main

if __name__ == "__main__":
    sys.exit(main())
