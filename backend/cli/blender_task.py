"""Run a script of the add-on in a Blender of its own: find it, start it, read its events, and end it in any case.

The Blender is either the bpy module of this Python or a program. Its script prints lines that start with the word PBRFIT,
followed by JSON.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError

LINE_PREFIX = "PBRFIT "
GRACE_SECONDS = 20.0


class BlenderEnded(CommandError):
    """Blender ended before its script was done: it crashed, or something killed it."""


@dataclass(frozen=True)
class Blender:
    """A Blender to start. ``binary``: path of a Blender program; None: the bpy module of this Python."""

    binary: str | None

    def command(self, script: Path, argument: Path) -> list[str]:
        """The command line that runs ``script`` with one argument."""
        if self.binary is None:
            return [sys.executable, str(script), str(argument)]
        return [self.binary, "--background", "--factory-startup", "--python", str(script), "--", str(argument)]


def find_blender(binary: str | None) -> Blender:
    """The Blender at ``binary``, or the bpy module of this Python. Raises CommandError where there is none."""
    if binary is not None:
        found = shutil.which(binary)
        if found is None:
            raise CommandError(f"There is no program {binary}.", "Give --blender the path of a Blender 4.2 or newer.")
        return Blender(found)
    if importlib.util.find_spec("bpy") is None:
        raise CommandError(
            "There is no Blender: the Python module bpy is not installed and --blender was not given.",
            'Install it with `pip install ".[blender]"`, or give the path of a Blender 4.2 or newer to --blender.',
        )
    return Blender(None)


def addon_file(relative: str) -> Path:
    """The path of a file of the add-on's sources. Raises CommandError where they are not installed."""
    spec = importlib.util.find_spec("blender_addon")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / relative).is_file():
            return path
    raise CommandError("The sources of the Blender add-on are missing.", "Install pbrfit again.")


class BlenderTask:
    """A script that runs in a Blender; use it with ``with``, so that nothing is left running.

    It runs in a process group of its own: so Ctrl-C reaches only this process, which ends the script in order. Closing the
    script's standard input asks it to cancel; this happens by itself when this process is killed. ``work`` is a folder
    that the caller removes; Blender's user files, all temporary files and a log of Blender's other output go there.
    ``grace_seconds`` is the time that the script has to cancel.
    """

    def __init__(
        self, blender: Blender, script: Path, argument: Path, work: Path, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._log = log = work / f"{script.stem}.log"
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        environment["BLENDER_USER_RESOURCES"] = str(work / "blender")
        # Temporary files of every child process go with `work`, also those of killed ones.
        (work / "temporary").mkdir(exist_ok=True)
        environment.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work / "temporary")))
        self._script = script
        self._grace_seconds = grace_seconds
        try:
            with open(log, "ab") as stderr:
                self._process = subprocess.Popen(
                    blender.command(script, argument),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise CommandError(
                f"Blender cannot be started: {error.strerror}.", "Run `pbrfit doctor` to see what is missing."
            ) from error
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # both are pipes
        assert stdout is not None
        self._stdin, self._stdout = stdin, stdout
        _running.add(self)

    def __enter__(self) -> BlenderTask:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of the script, until it is done, or done with what `send` said. Raises CommandError on its errors, and
        BlenderEnded when it stops early."""
        for raw in self._stdout:
            line = raw.decode("utf-8", errors="replace")
            if not line.startswith(LINE_PREFIX):
                continue
            event = json.loads(line[len(LINE_PREFIX) :])
            if "error" in event:
                raise CommandError(event["error"]["cause"], event["error"]["cure"])
            if "done" in event:
                return
            yield event
        status = self._process.wait()
        raise BlenderEnded(
            f"Blender ended with status {status} in {self._script.name}.{_log_tail(self._log)}",
            "Run `pbrfit doctor` to see what is missing.",
        )

    def send(self, line: str) -> None:
        """Give a line to the script. Raises BlenderEnded if it has ended."""
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except OSError:
            for _ in self.events():  # says with which status, and its last words
                pass

    def cancel(self) -> None:
        """Ask the script to cancel, or kill it where it has no time for that; from any thread."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()
        if not self._grace_seconds and self._process.poll() is None:
            self._signal()

    def end(self) -> None:
        """Ask the script to cancel, give it time to clean up, then end the rest of its process group."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(self._grace_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._kill()

    def _kill(self) -> None:
        self._signal()
        self._process.wait()
        self._stdout.close()
        _running.discard(self)

    def _signal(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


_running: set[BlenderTask] = set()


def cancel_all() -> None:
    """Ask all scripts to cancel that run in this process, from any thread."""
    for task in list(_running):
        task.cancel()


def run_script(
    blender: Blender, script: str, instructions: dict[str, Any], work: Path, grace_seconds: float = GRACE_SECONDS
) -> Iterator[dict[str, Any]]:
    """Run a script of the add-on with a JSON file as its argument. Yields its events; raises CommandError as they do."""
    argument = work / f"{Path(script).stem}.json"
    argument.write_text(json.dumps(instructions), encoding="utf-8")
    with BlenderTask(blender, addon_file(script), argument, work, grace_seconds) as task:
        yield from task.events()


def _log_tail(path: Path, lines: int = 12) -> str:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return " Its last words:\n" + "\n".join(kept) + "\n" if kept else ""
