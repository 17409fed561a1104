# SPDX-License-Identifier: GPL-3.0-or-later
"""What a finding of the preflight is."""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "ERROR"
WARNING = "WARNING"


@dataclass(frozen=True)
class Finding:
    """Something that stops a fit (ERROR) or may spoil it (WARNING).

    cause, cure: sentences; mend: the identifier of an operator that mends it with one click, or empty; target: the name
    of the object that it is about, or empty for all that would be fitted; quick: it is found without a full check.
    """

    level: str
    cause: str
    cure: str
    mend: str = ""
    target: str = ""
    quick: bool = False

    def __str__(self) -> str:
        return f"{self.cause} {self.cure}"


def errors_of(findings: list[Finding]) -> list[Finding]:
    """Those findings that stop a fit."""
    return [finding for finding in findings if finding.level == ERROR]
