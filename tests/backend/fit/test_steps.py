"""The two forms of an iteration: they take the same way, and one is captured in a CUDA graph."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset, studio_light, tables

from backend.fit.fit_plan import FitPlan
from backend.fit.sample_table import SampleTable, StepRows, step_rows
from backend.fit.steps import CapturedSteps, TapSteps, arranged
from backend.fit.table_fit import TableFit
from render.light.environment import create_trainable_env_rnd

# Without white balance, whose value the loss of an iteration in kernels leaves out.
PLAN = FitPlan(resolution=32, stages=1, white_balance=0.0)


@pytest.fixture(scope="module")
def table() -> SampleTable:
    train, _ = tables(ball_dataset(8, 40))
    return train.rows(torch.arange(len(train) // 4 * 4))


def on(table: SampleTable, device: str) -> StepRows:
    rows = step_rows(table)
    columns = {name: values for name, values in vars(rows).items() if values is not None and name != "shadow"}
    return StepRows(**{name: values.to(device) for name, values in columns.items()})


def trajectory(table: SampleTable, kind, plan: FitPlan, device: str = "cpu", steps: int = 9, **options):
    light = create_trainable_env_rnd(16, device=device) if plan.learn_light else studio_light(32).to(device)
    batch = len(table) // 4
    fit = TableFit(on(table, device), light, replace(plan, batch=batch))
    fit.set_resolution(32, batch)
    # Devices draw other numbers from the same seed.
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0)).to(device)
    if kind is TapSteps:
        fit.steps = TapSteps(fit.state, on(table, device), order, batch)
    else:
        fit.steps = CapturedSteps(fit.state, arranged(on(table, device), order, batch), batch, **options)
    losses = [float(fit.step(0.02 / (1 + i))) for i in range(steps)]
    return losses, fit.state.texels.detach().cpu(), fit.light.base.detach().cpu(), fit.steps.read_texels().cpu()


def agree_on_texels(read: torch.Tensor, stored: torch.Tensor) -> bool:
    """Stored taps name texels of weight zero too, and a device's rounding may move a sample by a texel's last bit."""
    return float((read != stored).float().mean()) < 0.01


@pytest.mark.parametrize(
    "changes", [{}, {"learn_light": True}, {"fit_normal": False, "fit_ks": False}, {"model": "nvdiffrec"}]
)
def test_both_forms_take_the_same_way(table, changes):
    plan = replace(PLAN, **changes)
    stored = trajectory(table, TapSteps, plan)
    read = trajectory(table, CapturedSteps, plan, capture=False)
    torch.testing.assert_close(torch.tensor(read[0]), torch.tensor(stored[0]), rtol=1e-3, atol=1e-6)
    for ours, theirs in zip(read[1:3], stored[1:3], strict=True):
        assert float((ours - theirs).abs().mean()) < 1e-4
    assert agree_on_texels(read[3], stored[3])
    assert stored[0][-1] < stored[0][0]


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [{}, {"learn_light": True}, {"fit_ks": False}, {"model": "nvdiffrec"}])
def test_a_captured_iteration_is_the_iteration(table, changes):
    plan = replace(PLAN, **changes)
    expected = trajectory(table, TapSteps, plan)
    for capture in (False, True):
        found = trajectory(table, CapturedSteps, plan, "cuda", capture=capture)
        torch.testing.assert_close(torch.tensor(found[0]), torch.tensor(expected[0]), rtol=5e-3, atol=1e-5)
        for ours, theirs in zip(found[1:3], expected[1:3], strict=True):
            assert float((ours - theirs).abs().mean()) < 1e-3
        assert agree_on_texels(found[3], expected[3])


def test_every_pixel_has_its_turn(table):
    fit = TableFit(table, studio_light(32), PLAN)
    fit.set_resolution(32, len(table) // 4)
    steps = CapturedSteps(fit.state, arranged(fit.table, fit.order, 50), len(table) // 4, capture=False)
    seen = []
    for _ in range(4):
        start = int(steps._first)
        seen.append(steps._table.color[start : start + steps._size])
        steps.step(0.01)
    assert int(steps._first) == 0
    torch.testing.assert_close(torch.cat(seen).sum(0), table.color.sum(0), rtol=1e-4, atol=1e-3)


def test_iterations_read_a_narrow_table(table):
    rows = step_rows(table)
    columns = [values for name, values in vars(rows).items() if values is not None and name != "shadow"]
    assert sum(values.nbytes for values in columns) / len(rows) <= 75
    assert step_rows(rows) is rows
