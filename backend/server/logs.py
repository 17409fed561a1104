"""The backend's log: as text or as JSON lines, on stderr or in a file of bounded size.

A thread of its own writes, from a queue of bounded length. So a full disk, a broken pipe or one that nobody reads loses lines,
and neither ends the server nor holds it up.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from backend.server.address_file import ServerError

MOST_BYTES = 10 << 20
KEPT_FILES = 5
WINDOW_S = 10.0
MOST_SAME, MOST_ALIKE = 5, 200
_MOST_KNOWN = 512
_MOST_WAITING = 10_000
_CLOSING_S = 1.0
_ABOUT = ("job", "key")

TEXT = "%(asctime)s %(name)s: %(message)s"


def set_up_log(form: str = "text", file: Path | None = None) -> None:
    """Write all lines from level INFO on. form: "text" or "json". file: None: stderr. Raises `ServerError` for a file that
    cannot be written.
    """
    target: Target = StandardError() if file is None else RotatedFile(file)
    if isinstance(target, RotatedFile):
        try:
            target.write("")
        except OSError as error:
            cause = f"The log {file} cannot be written: {error.strerror}."
            raise ServerError(cause, "Choose a file in a folder that exists and can be written to.") from error
    writer = LogWriter(target)
    writer.setFormatter(JsonLines() if form == "json" else TextLines(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[writer], force=True)


class TextLines(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        left_out, error = getattr(record, "left_out", 0), getattr(record, "error", "")
        text = super().format(record) + (f"\n{error}" if error else "")
        return f"{text} ({left_out} lines like it were left out)" if left_out else text


class JsonLines(logging.Formatter):
    """An object in each line: `time` (UTC), `level`, `logger`, `message`; where known `job` and `key`, and `error` (a
    traceback) and `left_out` (how many lines like it were not written).
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        values: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        values |= {name: value for name in (*_ABOUT, "error", "left_out") if (value := getattr(record, name, None))}
        if record.exc_info:
            values["error"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


@dataclass
class _Count:
    """How many lines of a kind came since `began`, and how many of them were left out."""

    began: float
    lines: int = 0
    left_out: int = 0


class RepeatLimit:
    """Leaves out lines that repeat: more than `MOST_SAME` with the same text, or `MOST_ALIKE` of one place, in `WINDOW_S`."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def left_out(self, record: logging.LogRecord) -> int | None:
        """None: leave this line out. Else how many like it were left out before."""
        template = str(getattr(record, "template", record.msg))
        same = self._count((record.name, "same " + record.getMessage()))
        alike = self._count((record.name, "alike " + template))
        if same.lines > MOST_SAME or alike.lines > MOST_ALIKE:
            alike.left_out += 1
            return None
        before, alike.left_out = alike.left_out, 0
        return before

    def _count(self, kind: tuple[str, str]) -> _Count:
        now = time.monotonic()
        count = self._counts.setdefault(kind, _Count(now))
        self._counts.move_to_end(kind)
        if now - count.began > WINDOW_S:
            count.began, count.lines = now, 0
        count.lines += 1
        if len(self._counts) > _MOST_KNOWN:
            self._counts.popitem(last=False)
        return count


class Target(Protocol):
    """Where lines go."""

    def write(self, text: str) -> None:
        """Write whole lines. May wait; raises OSError or ValueError."""
        ...


class StandardError:
    """The stderr of this process."""

    def write(self, text: str) -> None:
        """See `Target`."""
        sys.stderr.write(text)
        sys.stderr.flush()


class RotatedFile:
    """A file of at most `most_bytes`, and `kept` earlier ones: NAME.1 is the latest of them. This user alone may read it.

    Where another program has moved it away, a new one is begun.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES, kept: int = KEPT_FILES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._kept = kept
        self._handle = -1

    def write(self, text: str) -> None:
        """See `Target`."""
        data = text.encode("utf-8", "backslashreplace")
        try:
            self._open()
            size = os.fstat(self._handle).st_size
            if size and size + len(data) > self._most_bytes:
                self._rotate()
                self._open()
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError:
            self._close()
            raise

    def _open(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._handle)):
                    return
            self._close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._handle = os.open(self._path, flags, 0o600)

    def _close(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.close(self._handle)
        self._handle = -1

    def _rotate(self) -> None:
        self._close()
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1))]
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)


class LogWriter(logging.Handler):
    """Hands lines to a thread that writes them."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._limit = RepeatLimit()
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="pbrfit-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            left_out = self._limit.left_out(record)
            if left_out is None:
                return
            record.left_out = left_out
            self._lines.put_nowait(self.format(record) + "\n")
        except Exception:  # a line that cannot be written must not end what it is about
            self._lost += 1

    def close(self) -> None:
        """Writes what waits, for a second at most."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(_CLOSING_S)
        super().close()

    def _run(self) -> None:
        well = True
        while (line := self._lines.get()) is not None:
            lost, self._lost = self._lost, 0
            try:
                self._target.write(f"{line}({lost} lines of the log were lost)\n" if lost else line)
                well = True
            except Exception as error:
                self._lost += lost + 1
                if well:
                    with contextlib.suppress(Exception):
                        sys.stderr.write(f"the log cannot be written: {error}\n")
                        sys.stderr.flush()
                well = False
