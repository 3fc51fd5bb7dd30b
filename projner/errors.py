"""The one error that a user is meant to read."""

from __future__ import annotations


class JobError(ValueError):
    """Something the user can mend: a bad job file, corpus or installation.

    The message is one line: what is wrong, where, and the mend. The command line prints it
    without a traceback and exits with code 2.
    """
