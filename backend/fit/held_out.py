"""The held-out error during a fit: worked out on the device, read when it is there, so that nothing waits for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Measured:
    """The error after an iteration, in dB, and what was kept of the fit at that time."""

    iteration: int
    psnr_db: float
    kept: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class _Pending:
    iteration: int
    error: torch.Tensor
    event: torch.cuda.Event | None
    kept: tuple[torch.Tensor, ...]


class HeldOutMeter:
    """Measures at most `ahead` errors ahead of what it has told: on a GPU the host hands out iterations faster than they run.

    error  gives the mean squared error as a scalar on the device
    """

    def __init__(self, error: Callable[[], torch.Tensor], ahead: int = 1) -> None:
        self._error, self._ahead = error, ahead
        self._pending: deque[_Pending] = deque()

    def measure(self, iteration: int, kept: tuple[torch.Tensor, ...] = ()) -> None:
        """Have the error worked out; `kept` comes back with it."""
        error = self._error()
        event = None
        if error.device.type == "cuda":
            error = error.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._pending.append(_Pending(iteration, error, event, kept))

    def finished(self, every: bool = False) -> list[Measured]:
        """What is known by now, oldest first; waits for those beyond `ahead`, or for every one."""
        done = []
        while self._pending:
            oldest = self._pending[0]
            if oldest.event is not None:
                if every or len(self._pending) > self._ahead:
                    oldest.event.synchronize()
                elif not oldest.event.query():
                    break
            self._pending.popleft()
            error = float(oldest.error)
            done.append(Measured(oldest.iteration, -10 * math.log10(error) if error > 0 else math.inf, oldest.kept))
        return done


class Pace:
    """Keeps the host at most two strides of iterations ahead of a GPU, so that progress and a cancel mean something."""

    def __init__(self, device: torch.device, stride: int) -> None:
        self._is_ahead, self._stride = device.type == "cuda", stride
        self._marks: deque[torch.cuda.Event] = deque()

    def keep(self, iteration: int) -> None:
        """To be called in each iteration; waits where the host is too far ahead, while the GPU has a stride to do."""
        if not self._is_ahead or iteration % self._stride:
            return
        mark = torch.cuda.Event()
        mark.record()
        self._marks.append(mark)
        if len(self._marks) > 1:
            self._marks.popleft().synchronize()
