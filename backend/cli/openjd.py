"""The lines by which a task of Open Job Description says how it gets on: openjd_progress, openjd_status, openjd_fail."""

from __future__ import annotations

from typing import Any

from backend.cli.batch_table import CHANGED, FAILED, NEW, REFUSED
from backend.cli.errors import CommandError


class OpenJobLines:
    """Prints them, from the events of a batch. The share that is done counts all objects that there are to do."""

    def __init__(self) -> None:
        self._to_do, self._ended = 0, 0
        self._last = {"progress": "", "status": ""}
        self._failures: list[str] = []

    def take(self, event: str, values: dict[str, Any]) -> None:
        """Take an event, as docs/batch.md lists them, and print what follows from it."""
        name = values.get("object", "")
        if event == "plan":
            self._to_do += values["status"] in (NEW, CHANGED)
            if values["status"] == REFUSED:
                self._failures.append(_sentence(name, values))
        elif event == "progress" and name:
            self._print("status", _one_line(f"{name}: {values['phase']} {values.get('message') or ''}"))
            self._print_share(values["fraction"])
        elif event == "job_end":
            self._ended += 1
            if values["status"] == FAILED:
                self._failures.append(_sentence(name, values))
            self._print_share(0.0)
        elif event == "end":
            if self._failures:
                more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
                print(f"openjd_fail: {self._failures[0]}{more}", flush=True)
            elif values["exit"] == 0:
                self._ended, self._to_do = 1, 1
                self._print_share(0.0)
            self._print("status", _one_line(values["text"]))

    def _print_share(self, of_this: float) -> None:
        share = min((self._ended + of_this) / max(self._to_do, 1), 1.0)
        self._print("progress", f"{int(100.0 * share)}")

    def _print(self, kind: str, text: str) -> None:
        if self._last[kind] != text:
            self._last[kind] = text
            print(f"openjd_{kind}: {text}", flush=True)


def print_failure(error: CommandError) -> None:
    """Print why nothing was begun."""
    print(f"openjd_fail: {_one_line(f'{error.cause} {error.cure}')}", flush=True)


def _sentence(name: str, values: dict[str, Any]) -> str:
    return _one_line(f'"{name}": {values.get("cause", "")} {values.get("cure", "")}')


def _one_line(text: str) -> str:
    return " ".join(text.split())
