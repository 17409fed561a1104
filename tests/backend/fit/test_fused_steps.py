"""An iteration in kernels from end to end takes the way of the plain one: on a GPU, and through Triton's interpreter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import on, random_rows

from backend.fit.baked_start import BakedStart
from backend.fit.fit_plan import FitPlan
from backend.fit.fused_light_optimizer import FusedLight, can_fuse_light
from backend.fit.light_optimizer import LightOptimizer
from backend.fit.memory import copies, put_back
from backend.fit.sample_table import StepRows
from backend.fit.steps import CapturedSteps, TapSteps, arranged
from backend.fit.table_fit import TableFit
from render.core.kernels import has_triton
from render.light.environment import create_trainable_env_rnd
from render.material.material import project_
from render.material.priors import KINDS, prior_gains
from render.texture.fixed_lookup import pyramid
from render.texture.map_size import MapSize

PLAN = FitPlan(resolution=(8, 16), stages=1, white_balance=0.01)
STEPS = 3
# Texels along a face of the light, by shading model: of one size, and of two.
LIGHT = {"nvdiffrec": 4, "principled": 8}


@pytest.fixture(autouse=True)
def _kernels_run(device):
    if not has_triton(torch.device(device)):
        pytest.skip(
            "no Triton for this device; tests/render/test_interpreted.py has its turn where Triton is installed"
        )


@pytest.fixture(scope="module")
def table() -> StepRows:
    return random_rows()


def baked(resolution: MapSize, device: str) -> BakedStart:
    """Random maps, surer in some texels than in others."""
    g = torch.Generator().manual_seed(1)
    texels = torch.rand(*resolution, 8, generator=g)
    project_(texels)
    return BakedStart(texels.to(device), (10 * torch.rand(*resolution, 8, generator=g)).to(device))


def fit_of(
    table: StepRows,
    plan: FitPlan,
    device: str,
    fuse: bool,
    start: BakedStart | None = None,
    capture: bool = False,
    two_lights: bool = False,
) -> TableFit:
    """A fit whose steps are those of kernels, or plain ones. two_lights: every other row is in a known light."""
    light = create_trainable_env_rnd(LIGHT[plan.model], device=device)
    others = [create_trainable_env_rnd(LIGHT[plan.model], seed=1, device=device)] if two_lights else []
    batch = len(table) // 2
    fit = TableFit(
        on(table, device), light, replace(plan, batch=batch), start=start, others=others, light_of_view={1: 1}
    )
    fit._fuses = fuse
    if plan.learn_light:
        fit._light_optimizer = FusedLight(light) if fuse else LightOptimizer(light)
    fit.set_resolution(plan.resolution, batch)
    rows = fit.table if device == "cuda" else arranged(fit.table, fit.order, batch)
    if fuse:
        fit.steps = CapturedSteps(fit.state, rows, batch, capture=capture)
    else:
        fit.steps = TapSteps(fit.state, rows, torch.arange(len(rows), device=device), batch)
    return fit


def trajectory(
    table: StepRows,
    plan: FitPlan,
    device: str,
    fuse: bool,
    start: BakedStart | None = None,
    two_lights: bool = False,
) -> list[torch.Tensor]:
    """Losses, texels and light after a few steps."""
    fit = fit_of(table, plan, device, fuse, start, two_lights=two_lights)
    losses = [float(fit.step(0.02 / (1 + i))) for i in range(STEPS)]
    return [torch.tensor(losses), fit.state.texels.detach().cpu(), fit.light.base.detach().cpu()]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"learn_light": True},
        {"fit_normal": False, "fit_ks": False},
        {"model": "nvdiffrec", "learn_light": True, "resolution": 4},
    ],
)
def test_it_takes_the_same_way(device, table, changes):
    plan = replace(PLAN, **changes)
    losses, texels, base = trajectory(table, plan, device, fuse=True)
    plain_losses, plain_texels, plain_base = trajectory(table, plan, device, fuse=False)
    if not plan.learn_light:  # else the plain loss counts the white balance too
        torch.testing.assert_close(losses, plain_losses, rtol=1e-3, atol=1e-6)
    assert float((texels - plain_texels).abs().mean()) < 2e-5
    assert float((base - plain_base).abs().mean()) < 1e-4
    assert not torch.equal(texels, torch.zeros_like(texels))
    if plan.learn_light:
        start = create_trainable_env_rnd(LIGHT[plan.model]).base.detach()
        assert float((base - start).abs().mean()) > 0.01


def test_it_takes_the_same_way_with_a_light_that_is_learned_beside_a_known_one(device, table):
    plan = replace(PLAN, learn_light=True)
    losses, texels, base = trajectory(table, plan, device, fuse=True, two_lights=True)
    plain_losses, plain_texels, plain_base = trajectory(table, plan, device, fuse=False, two_lights=True)
    torch.testing.assert_close(losses, plain_losses, rtol=1e-3, atol=1e-6)
    assert float((texels - plain_texels).abs().mean()) < 2e-5
    assert float((base - plain_base).abs().mean()) < 1e-4
    alone = trajectory(table, plan, device, fuse=True)
    assert float((texels - alone[1]).abs().mean()) > 1e-3
    assert float((base - alone[2]).abs().mean()) > 1e-3


def test_it_takes_the_same_way_from_a_bake(device, table):
    start = baked(PLAN.resolution, device)
    losses, texels, _ = trajectory(table, PLAN, device, fuse=True, start=start)
    plain_losses, plain_texels, _ = trajectory(table, PLAN, device, fuse=False, start=start)
    torch.testing.assert_close(losses, plain_losses, rtol=1e-3, atol=1e-6)
    assert float((texels - plain_texels).abs().mean()) < 2e-5
    assert float((texels - start.texels.cpu()).abs().mean()) > 1e-3


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("changes", [{}, {"learn_light": True}])
def test_it_goes_on_exactly_with_what_was_remembered(device, table, changes, fuse):
    """Also where the iterations are captured in a graph: then some ran before that."""
    plan = replace(PLAN, **changes)
    first, second = (fit_of(table, plan, device, fuse, capture=device == "cuda") for _ in range(2))
    for i in range(5):
        first.step(0.02 / (1 + i))
    tensors = copies(first._live_tensors())
    for i in range(5, 9):
        first.step(0.02 / (1 + i))
    put_back(second._live_tensors(), tensors)
    second.steps.resume(5 % 2)
    for i in range(5, 9):
        second.step(0.02 / (1 + i))
    for name, tensor in first._live_tensors().items():
        torch.testing.assert_close(second._live_tensors()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_what_is_not_fitted_stays(device, table):
    plan = replace(PLAN, fit_normal=False, fit_ks=False)
    _, texels, _ = trajectory(table, plan, device, fuse=True)
    assert float(texels[..., 3:].sub(texels[0, 0, 3:]).abs().max()) == 0
    assert float(texels[..., :3].std()) > 1e-3


def test_a_turned_light_is_not_fused(device):
    light = create_trainable_env_rnd(4, device=device)
    assert can_fuse_light(light)
    light.xfm(torch.eye(3))
    assert not can_fuse_light(light)


def test_the_light_is_always_the_light_as_it_is(device):
    light = create_trainable_env_rnd(4, device=device)
    before = light.base.detach().clone()
    fused = FusedLight(light)
    torch.testing.assert_close(light.base.detach(), before)
    filtered, plain = fused.prefiltered(), light.build_mips()
    torch.testing.assert_close(filtered.atlas, plain.atlas.detach(), rtol=1e-3, atol=1e-3)
    fused.rate.fill_(0.1)
    fused.step(torch.ones(*filtered.atlas.shape[2:], 4, device=device), torch.zeros(9, 3, device=device))
    assert float(light.base.detach().sub(before).max()) < 0


@pytest.mark.parametrize("from_bake", [False, True])
def test_what_is_asked_of_views_is_summed_as_in_plain_pytorch(device, table, from_bake):
    start = baked(PLAN.resolution, device) if from_bake else None
    fit = fit_of(table, PLAN, device, fuse=True, start=start)
    for i in range(STEPS):
        fit.step(0.02 / (1 + i))
    rows = fit.steps.pyramid_rows()
    gradient = torch.randn(rows.shape, generator=torch.Generator().manual_seed(2)).to(device)
    texels = fit.state.texels.detach().requires_grad_(True)
    (folded,) = torch.autograd.grad(pyramid(texels, fit.state.levels), texels, gradient)
    plain = prior_gains(texels.detach(), fit.state.priors, folded, fit.steps.squared_gradients())
    gains = fit.steps.gains(gradient.clone(), torch.zeros((), device=device))
    torch.testing.assert_close(gains, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()) * 1e-3)
    assert (gains[KINDS.index("pull")].abs().max() > 0) == from_bake
