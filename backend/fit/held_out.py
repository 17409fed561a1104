"""The held-out error during a fit: computed on the device and read when it is there, so that nothing waits for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

LEAST_GAIN_DB = 0.02


@dataclass(frozen=True)
class Measured:
    """The error after an iteration, as PSNR in dB, and the tensors that were kept of the fit at that time."""

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
    """Measures errors, at most `ahead` of which are still unread: on a GPU the host queues iterations faster than they run.

    error  computes the mean squared error, a scalar on the device
    """

    def __init__(self, error: Callable[[], torch.Tensor], ahead: int = 1) -> None:
        self._error, self._ahead = error, ahead
        self._pending: deque[_Pending] = deque()

    def measure(self, iteration: int, kept: tuple[torch.Tensor, ...] = ()) -> None:
        """Start to compute the error; `finished` returns `kept` with it."""
        error = self._error()
        event = None
        if error.device.type == "cuda":
            error = error.to("cpu", non_blocking=True)
            event = _recorded_event()
        self._pending.append(_Pending(iteration, error, event, kept))

    def finished(self, every: bool = False) -> list[Measured]:
        """The errors that are known now, oldest first; waits for those beyond `ahead`, or for all with `every`."""
        done: list[Measured] = []
        while self._pending:
            oldest = self._pending[0]
            if oldest.event is not None:
                if every or len(self._pending) > self._ahead:
                    oldest.event.synchronize()
                elif not oldest.event.query():  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
                    break
            self._pending.popleft()
            error = float(oldest.error)
            done.append(Measured(oldest.iteration, _psnr_db(error), oldest.kept))
        return done


def _psnr_db(error: float) -> float:
    """The PSNR of a mean squared error; of one that is no number, the worst."""
    if math.isnan(error):
        return -math.inf
    return -10 * math.log10(error) if error > 0 else math.inf


class Best:
    """The best of the measured states, and the iteration at which it was measured."""

    def __init__(self) -> None:
        self.psnr_db, self.latest_db, self.since = -math.inf, -math.inf, 0
        self.kept: tuple[torch.Tensor, ...] = ()

    def numbers(self) -> dict[str, float]:
        """What has been measured, by name."""
        return {"best_db": self.psnr_db, "latest_db": self.latest_db, "since": self.since}

    def resume(self, numbers: Mapping[str, float], kept: tuple[torch.Tensor, ...]) -> None:
        """Take over what `numbers` gave, without what was not finite, and what was kept."""
        self.psnr_db, self.latest_db = (numbers.get(name, -math.inf) for name in ("best_db", "latest_db"))
        self.since, self.kept = int(numbers.get("since", 0)), kept

    @property
    def lead(self) -> float:
        """By how many dB the best is better than the latest."""
        return self.psnr_db - self.latest_db if self.kept else 0.0

    def take(self, measured: list[Measured]) -> None:
        """Compare new measurements with the best."""
        for item in measured:
            self.latest_db = item.psnr_db
            if item.psnr_db > self.psnr_db + LEAST_GAIN_DB:
                self.psnr_db, self.since, self.kept = item.psnr_db, item.iteration, item.kept


class Pace:
    """Keeps the host at most two strides of iterations ahead of a GPU: progress and cancelling stay close to it."""

    def __init__(self, device: torch.device, stride: int) -> None:
        self._is_ahead, self._stride = device.type == "cuda", stride
        self._marks: deque[torch.cuda.Event] = deque()

    def keep(self, iteration: int) -> None:
        """Call this in each iteration: it waits where the host is too far ahead. The GPU keeps a stride of work."""
        if not self._is_ahead or iteration % self._stride:
            return
        self._marks.append(_recorded_event())
        if len(self._marks) > 1:
            self._marks.popleft().synchronize()


def _recorded_event() -> torch.cuda.Event:
    """An event that passes when the GPU has done what is queued now."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
    event.record()
    return event
