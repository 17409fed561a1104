"""The base of all errors that a person can act on."""

from __future__ import annotations


class CauseAndCure(Exception):
    """A failure with its cause and its cure, both sentences. Its message is both.

    Attributes: `cause` (what went wrong) and `cure` (what to do about it).
    """

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} {cure}")
        self.cause = cause
        self.cure = cure
