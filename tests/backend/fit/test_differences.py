"""References as differences from a bake, and references in several lights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ENVIRONMENT, ball_dataset, checked_maps, studio_light, tables

from backend.fit.baked_start import BakedStart
from backend.fit.differences import differences, with_lobes, with_shading
from backend.fit.fit_plan import FitPlan
from backend.fit.objective import LOBES
from backend.fit.sample_table import SampleTable, StepRows, step_rows
from backend.fit.table_fit import TableFit
from backend.fit.view_lights import ViewLights, mixed_batches
from render.light.environment import EnvironmentLight, create_trainable_env_rnd, env_from_latlong
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS

PLAN = FitPlan(resolution=64, iterations=80, stages=2, batch=2048)


@pytest.fixture(scope="module")
def rows() -> SampleTable:
    return tables(ball_dataset(8, 40))[0]


def lights(other: EnvironmentLight | None = None, light_of_view: dict[int, int] | None = None) -> ViewLights:
    known = [studio_light(256)] if other is None else [studio_light(256), other]
    with torch.no_grad():
        return ViewLights([light.build_mips() for light in known], light_of_view)


def known(texels: torch.Tensor, stiffness: float = 0.0) -> BakedStart:
    return BakedStart(texels, torch.full_like(texels, stiffness))


def on(rows: StepRows, device: str) -> StepRows:
    """The rows on a device."""
    return replace(rows, **{name: column.to(device) for name, column in vars(rows).items() if column is not None})


def test_where_the_bake_is_right_nothing_is_left_to_fit_whatever_the_renders_have_in_common(
    rows: SampleTable, device: str
) -> None:
    """Noise, and light that the fit's renderer does not know: it is in both renders."""
    truth = checked_maps().texels
    generator = torch.Generator().manual_seed(0)
    foreign = torch.rand(rows.color.shape, generator=generator)
    noisy = replace(rows, color=rows.color + foreign, baked=rows.color + foreign)
    table = on(step_rows(differences(noisy)), device)
    start = known(truth.to(device))
    light = env_from_latlong(torch.from_numpy(ENVIRONMENT), 256, device)
    fit = TableFit(table, light, PLAN, start=start, differs=True)
    fit.run(None, lambda status: None)
    # The kernel of a GPU rounds otherwise than the shading that is taken off: two steps of 8 bits, in roughness.
    tolerance = 1e-3 if device == "cpu" else 1e-2
    torch.testing.assert_close(fit.maps.texels.cpu(), truth, atol=tolerance, rtol=0)


def test_the_fit_finds_what_the_bake_lacks(rows: SampleTable) -> None:
    truth = checked_maps().texels
    baked = truth.clone()
    baked[:32, :, KD] = 0.5
    # Both renders are of the renderer itself, so that of the bake is its own shading of it.
    own = with_shading(replace(rows, color=torch.zeros_like(rows.color)), known(baked), lights(), PLAN.model).color
    lacking = differences(replace(rows, baked=own))
    target = with_shading(lacking, known(baked), lights(), PLAN.model)
    torch.testing.assert_close(target.color, rows.color, atol=1e-5, rtol=0)
    fit = TableFit(lacking, studio_light(256), PLAN, start=known(baked), differs=True)
    fit.run(None, lambda status: None)
    error = (fit.maps.texels[..., KD] - truth[..., KD]).abs().mean((1, 2))
    before = (baked[..., KD] - truth[..., KD]).abs().mean((1, 2))
    assert error[4:28].mean() < 0.35 * before[4:28].mean()
    assert float(-10 * torch.log10(fit.error(lacking).mean())) > 30


def test_each_row_is_shaded_in_its_own_light(rows: SampleTable) -> None:
    truth, dark = checked_maps().texels, studio_light(256)
    with torch.no_grad():
        dark.base.mul_(0.25)
    views = sorted(set(rows.view_index.tolist()))
    several = lights(dark, {view: 1 for view in views[::2]})
    black = replace(rows, color=torch.zeros_like(rows.color))
    one = with_shading(black, known(truth), lights(), PLAN.model).color
    both = with_shading(black, known(truth), several, PLAN.model).color
    in_dark = torch.isin(rows.view_index, torch.tensor(views[::2], dtype=torch.int32))
    torch.testing.assert_close(both[~in_dark], one[~in_dark])
    torch.testing.assert_close(both[in_dark], 0.25 * one[in_dark])


def test_a_fit_in_two_lights_knows_which_view_is_in_which(rows: SampleTable, device: str) -> None:
    """Half of the references are of a light of a quarter of the strength: taken for one light, they contradict each other."""
    own, dark = (env_from_latlong(torch.from_numpy(ENVIRONMENT * strength), 256, device) for strength in (1.0, 0.25))
    views = sorted(set(rows.view_index.tolist()))
    light_of_view = {view: 1 for view in views[::2]}
    dimmed = torch.isin(rows.view_index, torch.tensor(views[::2], dtype=torch.int32))
    mixed = on(step_rows(replace(rows, color=torch.where(dimmed[:, None], 0.25 * rows.color, rows.color))), device)
    errors = []
    for of_view in (light_of_view, {}):
        fit = TableFit(mixed, own, PLAN, others=[dark], light_of_view=of_view)
        fit.run(mixed, lambda status: None)
        errors.append(float(fit.error(mixed).mean()))
    assert errors[0] < 0.1 * errors[1]


def test_known_lights_tell_the_color_of_the_surface_from_that_of_a_light_that_is_learned(
    rows: SampleTable, device: str
) -> None:
    """Half of the views are in an orange light that nobody knows. Alone, it might as well be a white one on orange paint."""
    tint = torch.tensor([1.0, 0.6, 0.3])
    views = sorted(set(rows.view_index.tolist()))
    orange = torch.isin(rows.view_index, torch.tensor(views[::2], dtype=torch.int32))
    mixed = replace(rows, color=torch.where(orange[:, None], tint * rows.color, rows.color))
    known_light = env_from_latlong(torch.from_numpy(ENVIRONMENT), 256, device)
    plan = replace(PLAN, learn_light=True, iterations=200)
    truth = checked_maps().texels[..., KD]
    errors, tints = [], []
    for chosen, others in ((mixed.rows(orange.nonzero()[:, 0]), []), (mixed, [known_light])):
        table, learned = on(step_rows(chosen), device), create_trainable_env_rnd(16, device=device)
        fit = TableFit(table, learned, plan, others=others, light_of_view=dict.fromkeys(views[1::2], 1))
        fit.run(None, lambda status: None)
        errors.append(float((fit.maps.texels[..., KD].cpu() - truth).abs().mean()))
        tints.append((learned.base.detach().mean((0, 1, 2)) / known_light.base.mean((0, 1, 2))).cpu())
    assert errors[1] < 0.5 * errors[0]
    torch.testing.assert_close(tints[1], tint, atol=0.1, rtol=0)


def test_the_light_changes_metallic_and_roughness_are_kept_by_stiffness(rows: SampleTable) -> None:
    truth = checked_maps().texels
    wrong = replace(rows, color=1.3 * rows.color)
    moved = []
    for stiffness in (0.0, 1.0):
        start = known(truth.clone(), stiffness)
        fit = TableFit(wrong, studio_light(256), PLAN, start=start)
        fit.run(None, lambda status: None)
        moved.append(float((fit.maps.texels - truth)[..., ROUGHNESS.start : METALLIC.stop].abs().mean()))
    assert moved[1] < moved[0]


def test_the_base_is_found_under_a_coat_and_beside_a_glow_that_are_known(rows: SampleTable, device: str) -> None:
    """A fit that knows nothing of the two takes their light for the base's, and makes it brighter."""
    truth = checked_maps().texels
    over = torch.zeros(64, 64, LOBES.channels - NORMAL.stop)
    over[..., 0:3] = 0.1  # emission
    over[:, :32, 3:5] = torch.tensor([1.0, 0.1])
    whole = BakedStart(truth, torch.zeros_like(truth), over)
    black = replace(step_rows(rows), color=torch.zeros_like(rows.color))
    seen = with_shading(with_lobes(black, whole), whole, lights(), PLAN.model)
    assert float((seen.color - rows.color).mean()) > 0.05
    gray = truth.clone()
    gray[..., KD] = 0.5
    errors = []
    for start in (BakedStart(gray, torch.zeros_like(gray), over), known(gray)):
        start = BakedStart(*(None if part is None else part.to(device) for part in vars(start).values()))
        light = env_from_latlong(torch.from_numpy(ENVIRONMENT), 256, device)
        fit = TableFit(on(replace(seen, lobes=None), device), light, PLAN, start=start)
        fit.run(None, lambda status: None)
        errors.append(float((fit.maps.texels.cpu() - truth)[8:56, :, KD].abs().mean()))
    assert errors[0] < 0.5 * errors[1]


def test_each_batch_has_a_share_of_every_light() -> None:
    numbers = torch.tensor([0] * 600 + [1] * 303)
    parts = [(number, (numbers == number).nonzero()[:, 0]) for number in (0, 1)]
    order = torch.randperm(903)
    found = mixed_batches(parts, order, 100)
    assert len(found) == 9
    assert all((numbers[rows] == number).all() for batch in found for number, rows in batch)
    assert {len(rows) for batch in found for _, rows in batch} == {66, 67, 33, 34}
    assert torch.cat([rows for batch in found for _, rows in batch]).sort().values.tolist() == list(range(903))
    even = mixed_batches(parts, order, 100, even=True)
    assert {tuple(len(rows) for _, rows in batch) for batch in even} == {(66, 33)}
    rows = torch.cat([rows for batch in even for _, rows in batch])
    assert len(rows) == len(torch.unique(rows)) == 9 * 99


def test_a_light_of_few_rows_is_in_every_batch() -> None:
    parts = [(0, torch.arange(900)), (2, torch.arange(900, 903))]
    even = mixed_batches(parts, torch.randperm(903), 100, even=True)
    assert [[(number, len(rows)) for number, rows in batch] for batch in even] == [[(0, 300), (2, 1)]] * 3
    assert all(batch for batch in mixed_batches(parts, torch.randperm(903), 100))
