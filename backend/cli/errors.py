"""The errors that the command line shows to a person."""

from __future__ import annotations

from backend.protocol.errors import CauseAndCure


class CommandError(CauseAndCure):
    """The command cannot be carried out. Its cause and cure are printed to stderr; the exit status is 2."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM came, and everything that was started has been ended."""
