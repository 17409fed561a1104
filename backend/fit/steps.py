"""The iterations of a fit at one size of the maps, in two forms for different hardware.

On a CPU, and on a GPU without Triton, the fit computes the texel taps of every batch once and stores them with their
transpose (`TapSteps`). On CUDA one kernel computes the taps as it reads them, and also shades, compares and
differentiates. The whole iteration, with optimizer and schedule, is captured in one graph that runs without the host
(`CapturedSteps`): to launch its kernels one by one takes several times as long as they run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch

from backend.fit.fused_steps import BatchPart, FusedIteration
from backend.fit.sample_table import SampleTable, StepRows
from backend.fit.state import FitState, level_of_detail, set_learning_rates
from backend.fit.view_lights import mixed_batches
from render.material.priors import prior_gains
from render.texture.fixed_lookup import Taps, lookup, mip_offsets, pyramid, trilinear_taps
from render.texture.kernels.texture_lookup import lookup_at
from render.texture.map_size import MapSize

_WARM_UPS = 3


class Steps(Protocol):
    """Iterations at one size."""

    def step(self, learning_rate: float) -> torch.Tensor:
        """Run one iteration. Returns its loss, a scalar on the device, without waiting for it."""
        ...

    def read_texels(self) -> torch.Tensor:
        """The rows of the pyramid that any sample reads, bool [rows]."""
        ...

    def pyramid_rows(self) -> torch.Tensor:
        """The maps' pyramid [rows, C], as the samples read it."""
        ...

    @property
    def place(self) -> int:
        """The batch of the next iteration."""
        ...

    def resume(self, place: int) -> None:
        """Go on with this batch, after what `moments` and the state hold was changed. Raises ValueError for no batch."""
        ...

    def moments(self) -> dict[str, torch.Tensor]:
        """What an optimizer of the maps that is not PyTorch's keeps."""
        ...

    def no_gradient(self) -> torch.Tensor:
        """A gradient of zeros to the rows of the pyramid [T, C], for `gains`."""
        ...

    def gains(self, gradient: torch.Tensor, loss: torch.Tensor) -> torch.Tensor | None:
        """What a gradient [T, C], which is overwritten, says of the priors (`render.material.priors.prior_gains`), over all
        processes of the team; their losses become their sum. None before the first iteration."""
        ...

    def squared_gradients(self) -> torch.Tensor | None:
        """Adam's mean of the maps' squared gradients, [H, W, C], without the factor that makes it unbiased; None before
        the first iteration."""
        ...


def taps_of(rows: SampleTable | StepRows, resolution: MapSize, levels: int) -> Taps:
    """The texels that each sample reads of maps of this size, and their weights."""
    return trilinear_taps(rows.uv.reshape(-1, 2), level_of_detail(rows, resolution), resolution, levels)


def sorted_by_texel(table: StepRows, index: torch.Tensor) -> torch.Tensor:
    """The pixels `index`, int64 [N], sorted by their place in the texture, so that neighbors read the same cache lines."""
    uv = table.uv[index, 0]
    cell = (torch.remainder(uv[:, 1], 1) * 1024).long() * 1024 + (torch.remainder(uv[:, 0], 1) * 1024).long()
    return index[torch.argsort(cell)]


def arranged(table: StepRows, order: torch.Tensor, chunk: int) -> StepRows:
    """The table with its pixels in the order given, but sorted by place in the texture within each `chunk` pixels."""
    return table.rows(torch.cat([sorted_by_texel(table, part) for part in torch.split(order, chunk)]))


@dataclass(frozen=True)
class _Part:
    """The rows of a batch that one light lights, and their taps. light: its number."""

    light: int
    rows: StepRows
    taps: Taps


class TapSteps:
    """Iterations over batches with stored taps. `order` permutes the table's pixels; a batch has about `batch` of them."""

    def __init__(self, state: FitState, table: StepRows, order: torch.Tensor, batch: int) -> None:
        self.state = state
        parts = state.lights.parts(table)

        def part_of(light: int, chosen: torch.Tensor) -> _Part:
            rows = table.rows(sorted_by_texel(table, chosen))
            return _Part(light, rows, taps_of(rows, state.resolution, state.levels))

        self.batches = [[part_of(*own) for own in chosen] for chosen in mixed_batches(parts, order, batch)]
        self._next = 0

    def step(self, learning_rate: float) -> torch.Tensor:
        batch = self.batches[self._next]
        self._next = (self._next + 1) % len(self.batches)
        set_learning_rates(self.state, learning_rate)
        return self.state.iterate(lambda texels: self._loss_of(texels, batch))

    def _loss_of(self, texels: torch.Tensor, batch: list[_Part]) -> torch.Tensor:
        state, total = self.state, sum(len(part.rows) for part in batch)
        loss = torch.zeros((), device=texels.device)
        for part in batch:
            own = state.loss_of_values(lookup(texels, part.taps), part.rows, state.prefiltered(part.light))
            loss = loss + own * (len(part.rows) / total)
        return loss

    @property
    def place(self) -> int:
        return self._next

    def resume(self, place: int) -> None:
        self._next = _checked(place, len(self.batches))

    def moments(self) -> dict[str, torch.Tensor]:
        return {}

    def pyramid_rows(self) -> torch.Tensor:
        return pyramid(self.state.texels.detach(), self.state.levels)

    def squared_gradients(self) -> torch.Tensor | None:
        return _squared_gradients(self.state)

    def no_gradient(self) -> torch.Tensor:
        return _no_gradient(self.state)

    def gains(self, gradient: torch.Tensor, loss: torch.Tensor) -> torch.Tensor | None:
        return _gains(self.state, gradient, loss)

    def read_texels(self) -> torch.Tensor:
        every = [part.taps for batch in self.batches for part in batch]
        read = torch.zeros(every[0].rows, dtype=torch.bool, device=self.state.texels.device)
        for taps in every:
            read[taps.index[taps.weight > 0]] = True
        return read


def _checked(place: int, count: int) -> int:
    if not 0 <= place < count:
        raise ValueError(f"there is no batch {place} of {count}")
    return place


def _squared_gradients(state: FitState) -> torch.Tensor | None:
    """Those of an optimizer of PyTorch's."""
    moments = state.optimizer.state.get(state.texels, {})
    squared: torch.Tensor | None = moments.get("exp_avg_sq")
    return squared


def _no_gradient(state: FitState) -> torch.Tensor:
    rows = mip_offsets(state.resolution, state.levels)[-1]
    return state.texels.new_zeros(rows, state.texels.shape[2])


def _gains(state: FitState, gradient: torch.Tensor, loss: torch.Tensor) -> torch.Tensor | None:
    """In plain PyTorch, where each process of a team steps all texels."""
    state.team.add_up(gradient, loss)
    squared = _squared_gradients(state)
    if squared is None:
        return None
    texels = state.texels.detach().requires_grad_(True)
    (folded,) = torch.autograd.grad(pyramid(texels, state.levels), texels, gradient)
    return prior_gains(texels.detach(), state.priors, folded, squared)


@lru_cache(maxsize=8)
def _side_stream(device: str) -> torch.cuda.Stream:
    """The stream that warms up and captures iterations: one only, since cuBLAS keeps 32 MiB for each it ever worked on."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # PyTorch does not annotate it


class CapturedSteps:
    """Iterations over batches of consecutive rows of an `arranged` table; each iteration replays a CUDA graph.

    All batches have the same size, so that one graph serves them. It leaves out the last rows of the table, fewer than
    there are batches. On another device, or with `capture` False, the same iterations run without a graph. Where the
    rows have several lights, the table is arranged anew: a batch has the rows of one light after those of another, as many
    of each as every other batch has.
    """

    def __init__(self, state: FitState, table: StepRows, batch: int, capture: bool = True) -> None:
        self.state = state
        self._count = max(1, round(len(table) / batch))
        self._size = len(table) // self._count
        device = state.texels.device
        parts = state.lights.parts(table)
        if len(parts) > 1:
            chosen = mixed_batches(parts, torch.arange(len(table), device=device), batch, even=True)
            table = table.rows(torch.cat([sorted_by_texel(table, part) for rows in chosen for _, part in rows]))
            self._count, self._size = len(chosen), 0
            self._parts = []
            for light, own in chosen[0]:
                self._parts.append(BatchPart(light, self._size, len(own)))
                self._size += len(own)
        else:
            self._parts = [BatchPart(parts[0][0], 0, self._size)]
        self._table = table
        self._next = 0
        self._first = torch.zeros((), dtype=torch.int64, device=device)
        self._level = level_of_detail(table, state.resolution)
        self._loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._capture = capture and device.type == "cuda"
        self._warm_ups = 0
        self._fused = FusedIteration(state, table, self._level, self._first, self._parts) if state.fuses else None

    def step(self, learning_rate: float) -> torch.Tensor:
        if self._fused is None:
            set_learning_rates(self.state, learning_rate)
        else:
            self._fused.set_learning_rate(learning_rate)
        self._next = (self._next + 1) % self._count
        if self._graph is not None:
            self._graph.replay()
        elif not self._capture:
            self._iterate()
        elif self._warm_ups < _WARM_UPS:
            # Compile kernels and make buffers before the capture, on a side stream as capturing demands.
            self._warm_ups += 1
            stream = _side_stream(str(self.state.texels.device))
            stream.wait_stream(torch.cuda.current_stream(self.state.texels.device))
            with torch.cuda.stream(stream):
                self._iterate()
            torch.cuda.current_stream(self.state.texels.device).wait_stream(stream)
        else:
            self._graph = graph = torch.cuda.CUDAGraph()
            # Another thread may draw previews meanwhile. "thread_local" forbids only this thread what cannot be captured.
            stream = _side_stream(str(self.state.texels.device))
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._iterate()
            graph.replay()
        return self._loss

    def _iterate(self) -> None:
        loss = self.state.iterate(self._loss_of) if self._fused is None else self._fused.run()
        self._loss.copy_(loss)
        self._first.copy_((self._first + self._size) % (self._size * self._count))

    def _loss_of(self, texels: torch.Tensor) -> torch.Tensor:
        state, loss = self.state, torch.zeros((), device=texels.device)
        for part in self._parts:
            rows = self._table.rows(self._first + part.start + torch.arange(part.count, device=texels.device))
            level = level_of_detail(rows, state.resolution)
            read = lookup_at(texels, rows.uv.reshape(-1, 2), level, state.resolution, state.levels)
            own = state.loss_of_values(read, rows, state.prefiltered(part.light))
            loss = loss + own * (part.count / self._size)
        return loss

    @property
    def place(self) -> int:
        return self._next

    def resume(self, place: int) -> None:
        self._next = _checked(place, self._count)
        self._first.fill_(self._next * self._size)
        if self._fused is not None:
            self._fused.refresh()

    def moments(self) -> dict[str, torch.Tensor]:
        return {} if self._fused is None else self._fused.tensors()

    def pyramid_rows(self) -> torch.Tensor:
        return pyramid(self.state.texels.detach(), self.state.levels) if self._fused is None else self._fused.rows

    def squared_gradients(self) -> torch.Tensor | None:
        return _squared_gradients(self.state) if self._fused is None else self._fused.squared_gradients

    def no_gradient(self) -> torch.Tensor:
        return _no_gradient(self.state) if self._fused is None else self._fused.no_gradient()

    def gains(self, gradient: torch.Tensor, loss: torch.Tensor) -> torch.Tensor | None:
        return _gains(self.state, gradient, loss) if self._fused is None else self._fused.gains(gradient, loss)

    def read_texels(self) -> torch.Tensor:
        state = self.state
        rows = torch.zeros_like(pyramid(state.texels.detach(), state.levels)[:, :1]).requires_grad_(True)
        for part in torch.split(torch.arange(len(self._table), device=rows.device), 1 << 20):
            chosen = self._table.rows(part)
            level = level_of_detail(chosen, state.resolution)
            read = lookup_at(rows, chosen.uv.reshape(-1, 2), level, state.resolution, state.levels)
            torch.autograd.backward(read.sum())
        assert rows.grad is not None  # `backward` has made it: a fit has samples
        return rows.grad[:, 0] > 0
