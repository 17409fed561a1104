# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn pip's output, line by line, into progress, causes and cures for an artist."""

from __future__ import annotations

import re

from ..common.errors import PbrFitError

MEGABYTE = 1_000_000.0
LONGEST_MEMORY = 200  # lines

DOWNLOAD = re.compile(r"^\s*(?:Downloading|Processing|Using cached) (\S+)")
RAW_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)")
SIZE = re.compile(r"\((\d+(?:\.\d+)?) (kB|MB|GB)\)")
SIZES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

ONLINE = "Check the network, and that no firewall or proxy blocks Python; then set up again."
NOT_REACHED = "The package index was not reached."
NOT_TRUSTED = "The package index was not trusted: its certificate could not be verified."
REFUSED = "The package index refused to answer."
WITHOUT_TORCH = "The package index has no torch for this Python on this machine."
NOT_THERE = {NOT_REACHED, NOT_TRUSTED, REFUSED, WITHOUT_TORCH}
"""Causes for which another package index may do."""

TROUBLES: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|There is not enough space on the disk|Disk quota exceeded",
        "The disk is full.",
        "Make room on it, then set up again.",
    ),
    (
        r"Long Path support|\[WinError 206\]|filename or extension is too long",
        "A path is too long for Windows.",
        'Enable long paths in Windows (search its settings for "long paths"), then set up again.',
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        NOT_TRUSTED,
        "Check the clock of this machine; behind a company's proxy, give pip its certificate (PIP_CERT).",
    ),
    (
        r"NameResolutionError|Name or service not known|getaddrinfo failed|Temporary failure in name resolution"
        r"|nodename nor servname|NewConnectionError|ConnectTimeout|Read timed out|ProxyError"
        r"|Network is unreachable|Connection refused",
        NOT_REACHED,
        ONLINE,
    ),
    (
        r"HTTP error 40[137]|40[137] (?:Client Error|Forbidden|Unauthorized)",
        REFUSED,
        "Behind a company's proxy, ask who may reach it, or use the company's own index; then set up again.",
    ),
    (
        r"DO NOT MATCH THE HASHES|IncompleteRead|incomplete-download|Connection broken|ConnectionResetError",
        "A download was cut off or damaged.",
        "Set up again; complete downloads are not repeated.",
    ),
    (
        r"No matching distribution found for torch\b"
        r"|no matching distributions available for your environment:\s+torch\b",
        WITHOUT_TORCH,
        'Choose another Python to build on (3.11 to 3.13), or another build under "PyTorch", then set up again.',
    ),
    (
        r"ResolutionImpossible|conflicting dependencies",
        "The packages that PBRfit needs conflict with each other, or with a constraint given to pip (PIP_CONSTRAINT).",
        "The log tells which. Remove the constraint, then set up again.",
    ),
    (
        r"No matching distribution found",
        "The package index does not have all packages that PBRfit needs.",
        "Choose another Python to build on (3.11 to 3.13), then set up again; the log names the package.",
    ),
    (
        r"Permission denied|\[WinError 5\]|\[WinError 32\]|Access is denied",
        "A file could not be written, or another program holds it.",
        "End other Blenders that use this backend, check who may write to Blender's user folder, then set up again.",
    ),
)
"""What pip's output means: a pattern in it, the cause, and the cure. The first pattern that is found counts."""


class PipProgress:
    """What pip does, from its output. message: a line for people; megabytes: downloaded so far; known_megabytes: with what
    is left of the file that it downloads; installing: whether all downloads are complete; lines: the last of the output.

    counts_bytes: whether pip runs with `--progress-bar raw` (24.1 and later); else each file counts when it starts.
    """

    def __init__(self, counts_bytes: bool) -> None:
        self.message = ""
        self.megabytes = self.known_megabytes = 0.0
        self.installing = False
        self.lines: list[str] = []
        self._counts_bytes = counts_bytes
        self._before = 0.0
        self._file = ""

    def take(self, line: str) -> bool:
        """Take the next line; returns whether a log should keep it (not the thousands of raw counts)."""
        raw = RAW_PROGRESS.match(line)
        if raw:
            done, total = int(raw[1]) / MEGABYTE, int(raw[2]) / MEGABYTE
            self.megabytes, self.known_megabytes = self._before + done, self._before + total
            if total >= 1.0:
                self.message = f"Downloading {self._file}: {done:.0f} of {total:.0f} MB"
            return False
        self.lines = [*self.lines[1 - LONGEST_MEMORY :], line]
        download = DOWNLOAD.match(line)
        if download:
            self._download(package_of(download[1]), SIZE.search(line))
        elif line.startswith("Collecting "):
            self.message = f"Looking for {re.split(r'[<>=!~;[( ]', line.split()[1])[0]}"
        elif line.lstrip().startswith("WARNING: Retrying"):
            self.message = "The package index does not answer; trying again"
        elif line.startswith("Installing collected packages:"):
            names = line.split(":", 1)[1].split(",")
            self.installing = True
            self.message = f"Installing {names[-1].strip()}" + (f" and {len(names) - 1} more" if names[1:] else "")
        return True

    def _download(self, package: str, size: re.Match[str] | None) -> None:
        self._before, self._file = self.megabytes, package
        if size is not None:
            self.message = f"Downloading {package} ({size[1]} {size[2]})"
            if not self._counts_bytes:
                self.megabytes += float(size[1]) * SIZES[size[2]] / MEGABYTE


def package_of(file: str) -> str:
    """The package name in a wheel's file name, path or address."""
    return re.split(r"[/\\]", file)[-1].split("-")[0]


def pip_trouble(lines: list[str]) -> PbrFitError:
    """Why pip failed, from its output."""
    text = "\n".join(lines)
    for pattern, cause, cure in TROUBLES:
        if re.search(pattern, text):
            return PbrFitError(cause, cure)
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = errors[-1] if errors else next((line for line in reversed(lines) if line.strip()), "nothing")
    return PbrFitError(f"pip could not install the backend; it said: {said.rstrip('.')}.", "Look at the log.")
