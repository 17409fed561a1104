"""The iterations of a fit at one size of the maps, in the two forms that fit the hardware.

On a CPU, and on a GPU without Triton, the texel taps of every batch are worked out once and stored with their transpose
(`TapSteps`). On CUDA they are worked out as they are read, by one kernel that shades, compares and differentiates too, and
the whole iteration, optimiser and schedule included, is captured in one graph that runs without the host
(`CapturedSteps`): launching its kernels one by one takes several times as long as they run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from backend.fit_objective import HUBER, add_smoothness_gradient_, sample_loss
from backend.light_fit import LightOptimizer
from backend.sample_table import SampleTable, StepRows
from render.brdf import GgxTable
from render.kernels.fused_samples import can_fuse, fused_sample_loss
from render.kernels.texture_lookup import lookup_at
from render.light import EnvironmentLight, PrefilteredLight
from render.material import METALLIC, NORMAL, ROUGHNESS, project_
from render.radiance import ShadingModel
from render.texel_lookup import Taps, lookup, pyramid, trilinear_taps

_WARM_UPS = 3


@dataclass(frozen=True)
class StepPlan:
    """What an iteration weighs and changes; see `backend.fit.FitPlan`."""

    model: ShadingModel
    smooth_kd: float
    smooth_ks: float
    smooth_normal: float
    metallic_prior: float
    fit_normal: bool
    fit_ks: bool
    learn_light: bool
    light_learning_rate: float
    white_balance: float


class Steps(Protocol):
    """Iterations at one size."""

    def step(self, learning_rate: float) -> torch.Tensor:
        """One iteration; returns the loss, not synchronised."""
        ...

    def read_texels(self) -> torch.Tensor:
        """Which rows of the pyramid any sample reads, bool [rows]."""
        ...


@dataclass
class FitState:
    """What the iterations change: the maps, the light and their optimisers. `levels` of the maps' pyramid."""

    texels: torch.Tensor
    levels: int
    light: EnvironmentLight
    known_light: PrefilteredLight | None
    ggx: GgxTable
    plan: StepPlan
    optimizer: torch.optim.Optimizer
    light_optimizer: LightOptimizer | None

    @property
    def resolution(self) -> int:
        return self.texels.shape[0]

    def prefiltered(self) -> PrefilteredLight:
        """The light as it is now."""
        return self.light.build_mips() if self.known_light is None else self.known_light

    def iterate(self, loss_of: Callable[[torch.Tensor, PrefilteredLight], torch.Tensor]) -> torch.Tensor:
        """Loss and its gradient, priors, and a step of the optimisers, whose learning rates are set before.

        loss_of  gives the loss of a batch from the rows of the maps' pyramid, and the light
        """
        plan = self.plan
        if self.light_optimizer is not None:
            self.light_optimizer.zero_grad()
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(pyramid(self.texels, self.levels), self.prefiltered())
        if self.light_optimizer is not None and plan.white_balance > 0:
            loss = loss + plan.white_balance * self.light.regularizer()
        loss.backward()
        if self.light_optimizer is not None:
            self.light_optimizer.step()
        self._add_priors_()
        self._freeze_unfitted_()
        self.optimizer.step()
        project_(self.texels.data)
        return loss.detach()

    def loss_of_values(self, read: torch.Tensor, rows: StepRows, light: PrefilteredLight) -> torch.Tensor:
        """The loss of rows whose material values are [P * K, C]."""
        return sample_loss(read.reshape(*rows.valid.shape, -1), rows, light, self.ggx, self.plan.model)

    @torch.no_grad()
    def _add_priors_(self) -> None:
        gradient, texels, plan = self.texels.grad, self.texels.data, self.plan
        for part, weight in (
            (slice(0, ROUGHNESS.start), plan.smooth_kd),
            (slice(ROUGHNESS.start, METALLIC.stop), plan.smooth_ks),
            (NORMAL, plan.smooth_normal),
            (slice(NORMAL.stop, texels.shape[2]), plan.smooth_kd),
        ):
            if part.start < part.stop:
                add_smoothness_gradient_(gradient[..., part], texels[..., part], weight)
        scale = plan.metallic_prior / (texels.shape[0] * texels.shape[1])
        gradient[..., METALLIC] += scale * (1 - 2 * texels[..., METALLIC])

    def _freeze_unfitted_(self) -> None:
        if not self.plan.fit_normal:
            self.texels.grad[..., NORMAL] = 0
        if not self.plan.fit_ks:
            self.texels.grad[..., ROUGHNESS.start : METALLIC.stop] = 0


def level_of_detail(rows: SampleTable | StepRows, resolution: int) -> torch.Tensor:
    """The pyramid's level each sample reads, [P * K]."""
    return torch.log2((rows.footprint * resolution).clamp(min=1e-6)).reshape(-1)


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
        _set_learning_rates(self.state, learning_rate)
        rows, taps = self.batches[number], self.taps[number]
        return self.state.iterate(lambda texels, light: self.state.loss_of_values(lookup(texels, taps), rows, light))

    def read_texels(self) -> torch.Tensor:
        read = torch.zeros(self.taps[0].rows, dtype=torch.bool, device=self.state.texels.device)
        for taps in self.taps:
            read[taps.index[taps.weight > 0]] = True
        return read


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

    def step(self, learning_rate: float) -> torch.Tensor:
        _set_learning_rates(self.state, learning_rate)
        if self._graph is not None:
            self._graph.replay()
        elif not self._capture:
            self._iterate()
        elif self._warm_ups < _WARM_UPS:
            # Kernels are compiled and buffers made before the capture, on a stream of its own as capturing wants it.
            self._warm_ups += 1
            stream = torch.cuda.Stream(self.state.texels.device)
            stream.wait_stream(torch.cuda.current_stream(self.state.texels.device))
            with torch.cuda.stream(stream):
                self._iterate()
            torch.cuda.current_stream(self.state.texels.device).wait_stream(stream)
        else:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._iterate()
            self._graph.replay()
        return self._loss

    def _iterate(self) -> None:
        self._loss.copy_(self.state.iterate(self._loss_of))
        self._first.copy_((self._first + self._size) % (self._size * self._count))

    def _loss_of(self, texels: torch.Tensor, light: PrefilteredLight) -> torch.Tensor:
        state, table = self.state, self._table
        if can_fuse(texels, light, state.plan.model, table.valid.shape[1], self._size):
            return fused_sample_loss(
                texels,
                table.uv,
                self._level,
                state.resolution,
                state.levels,
                table.normal,
                table.tangent,
                table.sign,
                table.view,
                table.color,
                table.alpha,
                light,
                state.ggx,
                state.plan.model,
                HUBER,
                table.shadow,
                first=self._first,
                count=self._size,
            )
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


def _set_learning_rates(state: FitState, learning_rate: float) -> None:
    """For the maps, and for the light in proportion; into tensors on CUDA, which the captured optimisers read."""
    light_rate = learning_rate * state.plan.light_learning_rate
    for optimizer, rate in ((state.optimizer, learning_rate), (state.light_optimizer, light_rate)):
        if optimizer is None:
            continue
        group = optimizer.param_groups[0]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def adam(parameter: torch.Tensor) -> torch.optim.Adam:
    """Adam as the fit uses it, its learning rate a tensor where a graph is to read it."""
    on_gpu = parameter.device.type == "cuda"
    rate = torch.zeros((), device=parameter.device) if on_gpu else 0.0
    return torch.optim.Adam([parameter], lr=rate, betas=(0.9, 0.99), fused=True, capturable=on_gpu)
