"""The iterations of a fit at one size of the maps, in the two forms that fit the hardware.

On a CPU, and on a GPU without Triton, the texel taps of every batch are worked out once and stored with their transpose
(`TapSteps`). On CUDA they are worked out as they are read, by one kernel that shades, compares and differentiates too, and
the whole iteration, optimiser and schedule included, is captured in one graph that runs without the host
(`CapturedSteps`): launching its kernels one by one takes several times as long as they run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import torch

from backend.fit.fused_steps import FusedIteration
from backend.fit.sample_table import SampleTable, StepRows
from backend.fit.state import FitState, level_of_detail, set_learning_rates
from render.light.environment import PrefilteredLight
from render.texture.fixed_lookup import Taps, lookup, pyramid, trilinear_taps
from render.texture.kernels.texture_lookup import lookup_at

_WARM_UPS = 3


class Steps(Protocol):
    """Iterations at one size."""

    def step(self, learning_rate: float) -> torch.Tensor:
        """One iteration; returns the loss, not synchronised."""
        ...

    def read_texels(self) -> torch.Tensor:
        """Which rows of the pyramid any sample reads, bool [rows]."""
        ...


def taps_of(rows: SampleTable | StepRows, resolution: int, levels: int) -> Taps:
    return trilinear_taps(rows.uv.reshape(-1, 2), level_of_detail(rows, resolution), resolution, levels)


def sorted_by_texel(table: StepRows, index: torch.Tensor) -> torch.Tensor:
    """The pixels `index` in the order of their place in the texture, so that neighbours read the same cache lines."""
    uv = table.uv[index, 0]
    cell = (torch.remainder(uv[:, 1], 1) * 1024).long() * 1024 + (torch.remainder(uv[:, 0], 1) * 1024).long()
    return index[torch.argsort(cell)]


def arranged(table: StepRows, order: torch.Tensor, chunk: int) -> StepRows:
    """The table in the given order of its pixels, each `chunk` of it by place in the texture."""
    return table.rows(torch.cat([sorted_by_texel(table, part) for part in order.split(chunk)]))


class TapSteps:
    """Batches with stored taps. `order` is a permutation of the table's pixels; a batch has about `batch` of them."""

    def __init__(self, state: FitState, table: StepRows, order: torch.Tensor, batch: int) -> None:
        self.state = state
        count = max(1, round(len(table) / batch))
        self.batches = [table.rows(sorted_by_texel(table, part)) for part in order.chunk(count)]
        self.taps = [taps_of(rows, state.resolution, state.levels) for rows in self.batches]
        self._next = 0

    def step(self, learning_rate: float) -> torch.Tensor:
        number, self._next = self._next, (self._next + 1) % len(self.batches)
        set_learning_rates(self.state, learning_rate)
        rows, taps = self.batches[number], self.taps[number]
        return self.state.iterate(lambda texels, light: self.state.loss_of_values(lookup(texels, taps), rows, light))

    def read_texels(self) -> torch.Tensor:
        read = torch.zeros(self.taps[0].rows, dtype=torch.bool, device=self.state.texels.device)
        for taps in self.taps:
            read[taps.index[taps.weight > 0]] = True
        return read


@lru_cache(maxsize=8)
def _side_stream(device: str) -> torch.cuda.Stream:
    """The one on which iterations are warmed up and captured: cuBLAS keeps 32 MiB for each stream it ever worked on."""
    return torch.cuda.Stream(device)


class CapturedSteps:
    """Batches that are one run of rows after another of an `arranged` table, an iteration being a CUDA graph's replay.

    All batches have the same size, so that one graph serves them; at the table's end fewer pixels than there are batches
    are left over. On another device, or with `capture` False, the same without a graph.
    """

    def __init__(self, state: FitState, table: StepRows, batch: int, capture: bool = True) -> None:
        self.state = state
        self._table = table
        self._count = max(1, round(len(table) / batch))
        self._size = len(table) // self._count
        device = state.texels.device
        self._first = torch.zeros((), dtype=torch.int64, device=device)
        self._level = level_of_detail(table, state.resolution)
        self._loss = torch.zeros((), device=device)
        self._graph = None
        self._capture = capture and device.type == "cuda"
        self._warm_ups = 0
        self._fused = FusedIteration(state, table, self._level, self._first, self._size) if state.fuses else None

    def step(self, learning_rate: float) -> torch.Tensor:
        if self._fused is None:
            set_learning_rates(self.state, learning_rate)
        else:
            self._fused.set_learning_rate(learning_rate)
        if self._graph is not None:
            self._graph.replay()
        elif not self._capture:
            self._iterate()
        elif self._warm_ups < _WARM_UPS:
            # Kernels are compiled and buffers made before the capture, on a stream of its own as capturing wants it.
            self._warm_ups += 1
            stream = _side_stream(str(self.state.texels.device))
            stream.wait_stream(torch.cuda.current_stream(self.state.texels.device))
            with torch.cuda.stream(stream):
                self._iterate()
            torch.cuda.current_stream(self.state.texels.device).wait_stream(stream)
        else:
            self._graph = torch.cuda.CUDAGraph()
            # Another thread may draw previews meanwhile: only this one must do nothing that cannot be captured.
            stream = _side_stream(str(self.state.texels.device))
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._iterate()
            self._graph.replay()
        return self._loss

    def _iterate(self) -> None:
        loss = self.state.iterate(self._loss_of) if self._fused is None else self._fused.run()
        self._loss.copy_(loss)
        self._first.copy_((self._first + self._size) % (self._size * self._count))

    def _loss_of(self, texels: torch.Tensor, light: PrefilteredLight) -> torch.Tensor:
        state, table = self.state, self._table
        rows = table.rows(self._first + torch.arange(self._size, device=texels.device))
        level = level_of_detail(rows, state.resolution)
        read = lookup_at(texels, rows.uv.reshape(-1, 2), level, state.resolution, state.levels)
        return state.loss_of_values(read, rows, light)

    def read_texels(self) -> torch.Tensor:
        state = self.state
        rows = torch.zeros_like(pyramid(state.texels.detach(), state.levels)[:, :1]).requires_grad_(True)
        for part in torch.arange(len(self._table), device=rows.device).split(1 << 20):
            chosen = self._table.rows(part)
            level = level_of_detail(chosen, state.resolution)
            read = lookup_at(rows, chosen.uv.reshape(-1, 2), level, state.resolution, state.levels)
            read.sum().backward()
        return rows.grad[:, 0] > 0
