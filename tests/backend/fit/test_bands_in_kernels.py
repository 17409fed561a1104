"""Kernels that step bands of the maps in several processes take the way of those that step the whole maps."""

from __future__ import annotations

import threading

import pytest
import torch
from support.fit_scenes import on, random_rows

from backend.fit.fit_plan import FitPlan
from backend.fit.fit_rows import FitRows, fit_rows, shares_of
from backend.fit.fused_light_optimizer import FusedLight
from backend.fit.steps import CapturedSteps
from backend.fit.table_fit import TableFit
from backend.fit.team import ALONE, Team
from render.core.kernels import has_triton
from render.light.environment import create_trainable_env_rnd
from render.texture.bands import Band
from render.texture.map_size import MapSize


class Turns:
    """Threads that each do what a process of a team does, one at a time, until all of them have come to the same sum."""

    def __init__(self, size: int) -> None:
        self.lock, self.barrier = threading.Lock(), threading.Barrier(size, timeout=600)
        self.given: list[tuple[torch.Tensor, ...]] = [()] * size


class ThreadTeam(Team):
    """A process of a team as a thread of this one, with bands in small maps too."""

    def __init__(self, rank: int, turns: Turns) -> None:
        super().__init__(rank, len(turns.given))
        self._turns = turns

    @property
    def leads_others(self) -> bool:
        return False

    def band(self, resolution: MapSize, levels: int) -> Band:
        return Band(resolution, levels, self.rank, self.size, largest_whole=4)

    def _all_of(self, *tensors: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        self._turns.given[self.rank] = tensors
        self._turns.lock.release()
        self._turns.barrier.wait()
        every = [tuple(tensor.clone() for tensor in given) for given in self._turns.given]
        self._turns.barrier.wait()
        self._turns.lock.acquire()
        return every

    def add_up(self, *tensors: torch.Tensor) -> None:
        for tensor, given in zip(tensors, zip(*self._all_of(*tensors), strict=True), strict=True):
            tensor.copy_(torch.stack(given).sum(0))

    def copy_leaders(self, *tensors: torch.Tensor) -> None:
        for tensor, given in zip(tensors, self._all_of(*tensors)[0], strict=True):
            tensor.copy_(given)

    def collect(self, texels: torch.Tensor, band: Band) -> None:
        for number, (given,) in enumerate(self._all_of(texels)):
            own = slice(band.first_row(number, 0), band.first_row(number + 1, 0))
            texels[own] = given[own]


def steps_in_kernels(rows: FitRows, plan: FitPlan, device: str, team: Team) -> list[torch.Tensor]:
    """Losses, maps, light and priors after a few steps, with a question about the priors among them."""
    light = create_trainable_env_rnd(8, device=device)
    fit = TableFit(rows, light, plan, team=team)
    fit._fuses = True
    if plan.learn_light:
        fit._light_optimizer = FusedLight(light)
    fit.set_resolution(plan.resolution, plan.batch)
    fit.steps = CapturedSteps(fit.state, fit.table, len(fit.table), capture=False)
    losses = []
    for number in range(2):
        losses.append(float(fit.step(0.02 / (1 + number))))
        fit.rebalance()
    fit.collect(with_moments=True)
    priors = torch.cat([fit.priors.smooth, fit.priors.two_valued])
    second = fit.steps.squared_gradients()
    return [
        torch.tensor(losses),
        fit.state.texels.detach().cpu(),
        second.cpu(),
        light.base.detach().cpu(),
        priors.cpu(),
    ]


@pytest.mark.parametrize(("learn_light", "resolution"), [(False, (16, 32)), (True, 16)])
def test_bands_of_the_maps_take_the_way_of_the_whole_in_kernels(device, learn_light, resolution):
    if not has_triton(torch.device(device)):
        pytest.skip(
            "no Triton for this device; tests/render/test_interpreted.py has its turn where Triton is installed"
        )
    # Not fewer views than are needed to keep one back, and footprints of all sizes.
    table = random_rows(views=16)
    plan = FitPlan(resolution=resolution, stages=1, batch=1 << 20, learn_light=learn_light, white_balance=0.01)
    rows = fit_rows(on(table, device), plan.batch, torch.Generator(device).manual_seed(0))
    assert len(rows.kept_back)
    turns = Turns(2)
    shares = shares_of(rows, ThreadTeam(0, turns).band(plan.resolution, 3), plan.batch)
    assert ThreadTeam(0, turns).band(plan.resolution, 3).whole == 2
    found: list[list[torch.Tensor]] = [[], []]

    def act(rank: int) -> None:
        with turns.lock:
            found[rank] = steps_in_kernels(shares[rank], plan, device, ThreadTeam(rank, turns))

    threads = [threading.Thread(target=act, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = steps_in_kernels(rows, plan, device, ALONE)
    names = ("losses", "maps", "second", "light", "priors")
    for own in found:
        away = {
            name: float((tensor - expected).abs().mean() / expected.abs().mean())
            for name, tensor, expected in zip(names, own, alone, strict=True)
        }
        assert max(away.values()) < 1e-4, away
    assert float((alone[1] - alone[1].mean((0, 1))).abs().max()) > 0.01
