"""Lines of the worker process's log, written by the server: so they have one form, and one file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from backend.worker.channel import Channel, Packet

_JOB_THREAD = "pbrfit-worker"
_LONGEST_TEXT = 1 << 16


class LogRelay(logging.Handler):
    """In the worker process: sends each line. job: the id of the job that runs now, or nothing."""

    def __init__(self, channel: Channel, job: Callable[[], str] = str) -> None:
        super().__init__()
        self._channel = channel
        self.job = job

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            in_job = threading.current_thread().name == _JOB_THREAD
            error = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            body = {
                "name": record.name,
                "level": record.levelno,
                "template": str(record.msg)[:_LONGEST_TEXT],
                "text": record.getMessage()[:_LONGEST_TEXT],
                "error": error[-_LONGEST_TEXT:],
                "of_job": self.job() if in_job else "",
            }
            self._channel.send(Packet("log", body))
        except Exception:  # a line that cannot be sent must not end a job
            self.handleError(record)


def write_relayed(body: dict[str, Any], key_of: Callable[[str], str]) -> None:
    """In the server: writes a line of the worker. key_of: the key that a job belongs to; empty where not known."""
    job = body["of_job"]
    extra = {"job": job, "key": key_of(job), "template": body["template"], "error": body["error"]}
    target = logging.getLogger(body["name"])
    if target.isEnabledFor(body["level"]):
        target.log(body["level"], "%s", body["text"], extra=extra)
