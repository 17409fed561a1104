# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a backend works, and if not, why and what to do: by `pbrfit doctor`, or by a connection to a remote one.

Nothing here makes Blender wait: a check runs in its own thread, or in the client's, and the caller polls it.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import PbrFitError
from ..common.process_group import kill_group, start_group
from ..protocol.client import events
from ..protocol.client.client import BackendClient
from ..protocol.keys import KeyPair
from .offer import SETS_UP

GOOD, NOTE, BAD = "GOOD", "NOTE", "BAD"
LEVELS = {"ok": GOOD, "note": NOTE, "MISSING": BAD}
SET_UP_AGAIN = (
    'Press "Set Up Backend", or install the same version into the Python that is chosen.'
    if SETS_UP
    else "Install the same version into the Python that is chosen."
)
LONGEST_SECONDS = 180.0


@dataclass(frozen=True)
class CheckLine:
    """One thing that was checked. level: GOOD, NOTE (works without) or BAD; cure: what to do, may be empty."""

    level: str
    text: str
    cure: str = ""


@dataclass(frozen=True)
class CheckReport:
    """What a check found. where: what was checked."""

    where: str
    lines: tuple[CheckLine, ...]

    @property
    def works(self) -> bool:
        """Whether the backend can be used."""
        return not any(line.level == BAD for line in self.lines)

    @property
    def error(self) -> PbrFitError | None:
        """The first problem that prevents its use, or None."""
        bad = next((line for line in self.lines if line.level == BAD), None)
        return None if bad is None else PbrFitError(bad.text, bad.cure)


def doctor_command(backend: Sequence[str]) -> list[str]:
    """The command that checks a backend; `backend` is the command that starts it."""
    return [*backend, "doctor", "--json", "--backend-only"]


def doctor_report(where: str, backend: Sequence[str], output: str, addon_version: str) -> CheckReport:
    """What the doctor's output says; if the output is not the doctor's, what it probably means."""
    start = output.find("{")
    try:
        told: Any = json.JSONDecoder().raw_decode(output, start)[0] if start >= 0 else None
        findings = [(LEVELS[item["level"]], item["subject"], item["state"], item["cure"]) for item in told["findings"]]
        version = told["version"]
    except (ValueError, KeyError, TypeError):
        return CheckReport(where, (_no_answer(backend, output),))
    lines = []
    # A backend that runs from its sources has no version; the protocol still checks its own.
    if version and version != addon_version:
        text = f"The backend is PBRfit {version}, this add-on is {addon_version}."
        lines.append(CheckLine(BAD, text, SET_UP_AGAIN))
    for level, subject, state, cure in findings:
        lines.append(CheckLine(level, f"{subject}: {state}", _for_terminal(backend[0], cure)))
    return CheckReport(where, tuple(lines))


def _for_terminal(program: str, cure: str) -> str:
    """A cure; if it is a command of pip, then of the pip of the backend's Python."""
    if not cure.startswith("pip install"):
        return cure
    return f'In a terminal: "{program}" -m {cure}' if "python" in Path(program).name else f"In a terminal: {cure}"


def _no_answer(backend: Sequence[str], output: str) -> CheckLine:
    if re.search(r"No module named '?backend", output):
        text = f'The Python "{backend[0]}" has no PBRfit.'
        return CheckLine(BAD, text, 'Choose a Python that has it, or leave the field empty and press "Set Up Backend".')
    if "unrecognized arguments" in output:
        return CheckLine(BAD, f'The PBRfit of "{backend[0]}" is older than this add-on.', SET_UP_AGAIN)
    lines = [line for line in output.splitlines() if line.strip()]
    said = f" It said: {lines[-1].strip()}" if lines else ""
    return CheckLine(BAD, f'"{backend[0]}" is not a backend, or it does not run.{said}', SET_UP_AGAIN)


class LocalCheck:
    """A check of a backend on this machine by its own doctor, in a thread."""

    def __init__(self, where: str, backend: Sequence[str], directory: Path, addon_version: str) -> None:
        """Start the check; `directory`: an existing folder for temporary files."""
        self._where, self._backend, self._addon_version = where, list(backend), addon_version
        self._report: CheckReport | None = None
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=(directory,), name="pbrfit-check", daemon=True)
        self._thread.start()

    def poll(self) -> CheckReport | None:
        """The report, or None while the check runs."""
        return self._report

    def close(self) -> None:
        """End the check if it still runs."""
        self._closed = True
        if self._process is not None:
            kill_group(self._process)
        self._thread.join(2.0)

    def _run(self, directory: Path) -> None:
        try:
            self._process = start_group(doctor_command(self._backend), directory)
        except OSError as error:
            text = f'The backend "{self._backend[0]}" cannot start: {error.strerror}.'
            self._report = CheckReport(self._where, (CheckLine(BAD, text, SET_UP_AGAIN),))
            return
        if self._closed:
            kill_group(self._process)
        try:
            output = self._process.communicate(timeout=LONGEST_SECONDS)[0]
        except subprocess.TimeoutExpired:
            kill_group(self._process)
            self._process.communicate()
            text = f"The backend did not answer within {LONGEST_SECONDS:.0f} seconds."
            self._report = CheckReport(
                self._where, (CheckLine(BAD, text, "Look for programs that keep this machine busy."),)
            )
            return
        self._report = doctor_report(self._where, self._backend, output, self._addon_version)


class RemoteCheck:
    """A check of a backend at an address: connect and disconnect again."""

    def __init__(self, address: str, server_key: str, keys: KeyPair, addon_version: str) -> None:
        """Start the check."""
        self._where, self._addon_version = f"The backend at {address}", addon_version
        self._report: CheckReport | None = None
        self._client = BackendClient(keys=keys)
        self._client.connect(address, server_key)

    def poll(self) -> CheckReport | None:
        """The report, or None while the check runs."""
        if self._report is None:
            for event in self._client.poll():
                lines = self._lines(event)
                if lines:
                    self._report = CheckReport(self._where, tuple(lines))
                    self._client.close()
                    break
        return self._report

    def close(self) -> None:
        """End the check if it still runs."""
        self._client.close()

    def _lines(self, event: events.Event) -> list[CheckLine]:
        if isinstance(event, events.Failed):
            return [CheckLine(BAD, event.cause, event.cure)]
        if isinstance(event, events.Disconnected):
            return [CheckLine(BAD, f"The backend is gone: {event.reason}", "Start it again with `pbrfit serve`.")]
        if not isinstance(event, events.Connected):
            return []
        version = str(event.info.get("version", ""))
        device = str(event.info.get("device_name") or event.info.get("device") or "")
        lines = [CheckLine(GOOD, f"It answered{f', and runs on {device}' if device else ''}")]
        if version and version != self._addon_version:
            text = f"It is PBRfit {version}, this add-on is {self._addon_version}."
            lines.append(CheckLine(NOTE, text, "Install the same version at both ends if something does not work."))
        return lines
