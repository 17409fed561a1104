"""What the command line tells a person when something cannot be done."""

from __future__ import annotations


class CommandError(Exception):
    """A failure with its cause and its cure, both sentences; printed to stderr, exit status 2."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} {cure}")
        self.cause = cause
        self.cure = cure


class Interrupted(Exception):
    """Ctrl-C or SIGTERM, after everything that was started has been ended."""
