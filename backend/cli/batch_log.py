"""A batch's events as lines of JSON; docs/batch.md lists them."""

from __future__ import annotations

import datetime
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from backend.cli.batch_arguments import STDOUT
from backend.cli.errors import CommandError


class EventLog:
    """Writes events, each at once and whole; from any thread. Use it with ``with``.

    failure: why a file could not be written any further, empty if it could; the batch goes on without it.
    """

    def __init__(self, target: str | None, listener: Callable[[str, dict[str, Any]], None] | None = None) -> None:
        """``target``: a file that is begun anew, STDOUT, or None for nowhere; ``listener``: gets each event and its values
        too. Raises CommandError."""
        self.failure = ""
        self._target, self._listener = target, listener
        self._lock = threading.Lock()
        self._stream: TextIO | None = None
        self._closes = target not in (None, STDOUT)
        if target == STDOUT:
            self._stream = sys.stdout
        elif target is not None:
            try:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                self._stream = open(target, "w", encoding="utf-8")  # noqa: SIM115  `__exit__` closes it
            except OSError as error:
                cause = f"The log {target} cannot be written: {error.strerror}."
                raise CommandError(cause, "Give --log-json another file.") from error

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        if self._closes and self._stream is not None:
            self._close(self._stream)

    def write(self, event: str, **values: Any) -> None:
        """Write an event with the time; paths become text, and values that are None are left out. Raises OSError only where
        stdout is closed."""
        known = {name: value for name, value in values.items() if value is not None}
        if self._listener is not None:
            with self._lock:
                self._listener(event, known)
        if self._stream is None:
            return
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": time, "event": event, **known}, default=str, ensure_ascii=False)
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except OSError as error:
                if not self._closes:
                    raise
                self.failure = f"The log {self._target} could not be written any further: {error.strerror}."
                self._close(self._stream)
                self._stream = None

    def _close(self, stream: TextIO) -> None:
        try:
            stream.close()
        except OSError as error:  # of what is still in its buffer
            self.failure = self.failure or f"The log {self._target} could not be written: {error.strerror}."
