"""Progress in a terminal: one line that redraws itself, or plain lines where the output is a file or a pipe."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Protocol, TextIO

BAR = 20
PLAIN_SECONDS = 5.0


class Progress(Protocol):
    """Where a command says what it does; `ProgressLine` has the meanings."""

    def show(
        self,
        phase: str,
        fraction: float,
        seconds_left: float | None = None,
        psnr_db: float | None = None,
        message: str = "",
    ) -> None: ...

    def note(self, text: str) -> None: ...

    def clear(self) -> None: ...


class ProgressLine:
    """Shows phase, bar, time left and PSNR; ``note`` prints a line that stays."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._redraws = self._stream.isatty()
        self._drawn = False
        self._last = ("", "")
        self._last_time = -PLAIN_SECONDS

    def show(
        self,
        phase: str,
        fraction: float,
        seconds_left: float | None = None,
        psnr_db: float | None = None,
        message: str = "",
    ) -> None:
        """Draw the state of a phase, ``fraction`` of it (0..1) done; plain output gets one line in five seconds."""
        fraction = min(max(fraction, 0.0), 1.0)
        if self._redraws:
            line = progress_text(phase, fraction, seconds_left, psnr_db, message, bar=True)
            columns = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + line[: columns - 1])
            self._stream.flush()
            self._drawn = True
            return
        now = time.monotonic()
        text = progress_text(phase, fraction, seconds_left, psnr_db, message, bar=False)
        if text == self._last[1] or (phase == self._last[0] and now - self._last_time < PLAIN_SECONDS):
            return
        self._last, self._last_time = (phase, text), now
        self._stream.write(text + "\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        """Print a line that stays above the progress."""
        self.clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the progress line away."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False


def progress_text(
    phase: str, fraction: float, seconds_left: float | None, psnr_db: float | None, message: str, bar: bool
) -> str:
    """One line: phase, bar, percentage, time left, PSNR and the message, as far as they are known."""
    parts = [f"{phase:<21}"]
    if bar:
        full = round(fraction * BAR)
        parts.append("█" * full + "░" * (BAR - full))
    parts.append(f"{fraction * 100.0:3.0f}%")
    if seconds_left is not None:
        parts.append(f"{duration(seconds_left)} left")
    if psnr_db is not None:
        parts.append(f"{psnr_db:.1f} dB")
    if message:
        parts.append(message)
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s."""
    seconds = max(round(seconds), 0)
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60:02d} s"
