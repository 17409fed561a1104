# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight reports."""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "ERROR"
WARNING = "WARNING"


@dataclass(frozen=True)
class Finding:
    """Something that stops a fit (ERROR) or may spoil it (WARNING).

    cause, cure: sentences; fix: the identifier of the operator that fixes it with one click, or empty; target: the full
    name (`name_full`, with the library's) of the object that it is about, or empty for all objects to fit; quick:
    whether a quick check finds it too; title: the cause in a few words, for a headline, or empty.
    """

    level: str
    cause: str
    cure: str
    fix: str = ""
    target: str = ""
    quick: bool = False
    title: str = ""

    def __str__(self) -> str:
        return f"{self.cause} {self.cure}"


def errors_of(findings: list[Finding]) -> list[Finding]:
    """The findings that stop a fit."""
    return [finding for finding in findings if finding.level == ERROR]
