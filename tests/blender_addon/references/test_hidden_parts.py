"""Views that are aimed at what the others do not see: where there are some, where there are none, and what they see."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import hdri_world, paint, small_fit
from support.blender.session_steps import poll_until, start

bpy = pytest.importorskip("bpy")

TRAINING = 24


def revolved(
    profile: list[tuple[float, float]], closed: bool = False, count: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and triangles of a profile of (radius, height) turned around Z."""
    angle, points = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)[:, None], np.array(profile)
    height = np.broadcast_to(points[:, 1], (count, len(points)))
    positions = np.stack([np.cos(angle) * points[:, 0], np.sin(angle) * points[:, 0], height], axis=-1)
    triangles = []
    for turn in range(count):
        mine, other = turn * len(points), (turn + 1) % count * len(points)
        for place in range(len(points) - (not closed)):
            above = (place + 1) % len(points)
            corners = mine + place, other + place, other + above, mine + above
            triangles += [(corners[0], corners[1], corners[2]), (corners[0], corners[2], corners[3])]
    return positions.reshape(-1, 3).astype(np.float32), np.array(triangles, np.int32)


BALL = [(np.sin(x), np.cos(x)) for x in np.linspace(0.0, np.pi, 13)]
PIPE = [(0.3, -0.9), (0.35, -0.9), (0.35, 0.9), (0.3, 0.9)]
DISH = [(0.0, 0.0), (0.5, 0.05), (0.9, 0.3), (1.0, 0.5), (0.95, 0.5), (0.85, 0.35), (0.45, 0.12), (0.0, 0.07)]
SHAPES = {"ball": (BALL, False), "pipe": (PIPE, True), "dish": (DISH, False)}


def planned(addon, positions):
    views = addon.references.views
    center, radius = views.bounding_sphere(positions)
    return [view for view in views.plan_views(center, radius, TRAINING, 4, 3, 2) if not view.held_out], radius


def aimed(addon, positions, triangles, fitted=None, most=TRAINING // 4):
    """The cameras for a shape, the views around it, and its radius."""
    plan, radius = planned(addon, positions)
    fitted = np.ones(len(triangles), bool) if fitted is None else fitted
    found = addon.references.hidden_parts.aimed_cameras(positions, triangles, fitted, radius, plan, most)
    return found, plan, radius


def unseen_share(addon, positions, triangles, plan, cameras) -> float:
    """The share of the surface that neither views nor cameras see, from other points than those that chose them."""
    hidden = addon.references.hidden_parts
    points = hidden.surface_points(positions, triangles, 3000)
    shape, unseen = hidden.Shape(positions, triangles, 1.0), np.ones(3000, bool)
    for view in plan:
        unseen[unseen] = ~shape.seen_from(points.some(unseen), view.matrix_world[:3, 3])
    for camera in cameras:
        left = points.some(unseen)
        unseen[unseen] = ~(shape.seen_from(left, camera.matrix_world[:3, 3]) & hidden.in_image(left.positions, camera))
    return float(unseen.mean())


@pytest.mark.parametrize("name", ["ball", "dish"])
def test_what_is_well_seen_gets_no_view(addon, name) -> None:
    profile, closed = SHAPES[name]
    found, plan, _ = aimed(addon, *revolved(profile, closed))
    assert found.cameras == ()
    assert found.share == 0.0
    assert unseen_share(addon, *revolved(profile, closed), plan, ()) < 0.005


def test_what_can_be_seen_through_a_narrow_opening_gets_a_few(addon) -> None:
    positions, triangles = revolved(*SHAPES["pipe"])
    found, plan, radius = aimed(addon, positions, triangles)
    before = unseen_share(addon, positions, triangles, plan, ())
    after = unseen_share(addon, positions, triangles, plan, found.cameras)
    assert 0 < len(found.cameras) <= TRAINING // 4
    assert before > 0.008
    assert after < 0.3 * before
    assert found.share == pytest.approx(before - after, rel=0.3)
    # It lies behind no camera, and those are outside of it.
    for camera in found.cameras:
        local = (positions - camera.matrix_world[:3, 3]) @ camera.matrix_world[:3, :3]
        assert (-local[:, 2]).min() > radius


def test_no_more_than_allowed(addon) -> None:
    positions, triangles = revolved(*SHAPES["pipe"])
    assert len(aimed(addon, positions, triangles, most=2)[0].cameras) == 2
    assert aimed(addon, positions, triangles, most=0)[0].cameras == ()


def test_what_nothing_can_see_gets_no_view(addon) -> None:
    positions, triangles = revolved(BALL)
    inner = np.concatenate([positions, 0.5 * positions])
    found, _, _ = aimed(addon, inner, np.concatenate([triangles, triangles + len(positions)]))
    assert found.cameras == ()


def test_what_little_light_reaches_gets_no_view(addon) -> None:
    long = [(0.2, -2.0), (0.25, -2.0), (0.25, 2.0), (0.2, 2.0)]
    positions, triangles = revolved(long, closed=True)
    found, plan, _ = aimed(addon, positions, triangles)
    assert unseen_share(addon, positions, triangles, plan, ()) > 0.1
    assert unseen_share(addon, positions, triangles, plan, found.cameras) > 0.1


def test_only_what_is_fitted_matters(addon) -> None:
    positions, triangles = revolved(*SHAPES["pipe"])
    outside = np.linalg.norm(positions[triangles][:, :, :2], axis=-1).min(axis=1) > 0.34
    assert aimed(addon, positions, triangles, outside)[0].cameras == ()
    assert aimed(addon, positions, triangles[:0])[0].cameras == ()


def test_added_views_follow_the_others_and_are_always_wanted(addon) -> None:
    views = addon.references.views
    found, _, radius = aimed(addon, *revolved(*SHAPES["pipe"]))
    plan = views.plan_views(np.zeros(3), radius, TRAINING, 4, 3, 2)
    camera = views.AimedCamera.from_json(found.cameras[0].to_json())
    every = views.with_aimed(plan, [camera] * 4, radius, 3, 2)
    assert every[: len(plan)] == plan
    added = every[len(plan) :]
    assert [view.index for view in added] == list(range(TRAINING + 4, TRAINING + 8))
    assert {view.light for view in added} == {0, 1, 2}
    assert len({view.seed for view in every}) == len(every)
    assert not any(view.held_out for view in added)
    wanted = views.views_for_blender(every, {"samples": 1, "held_out_samples": 2, "wanted": 10})
    assert {view.index for view in added} <= {view["index"] for view in wanted}
    assert len(wanted) == 10 + 4 + 4


def add_pipe() -> bpy.types.Object:
    """A painted pipe with a UV map."""
    positions, triangles = revolved(*SHAPES["pipe"], count=12)
    mesh = bpy.data.meshes.new("Pipe")
    mesh.from_pydata(positions.tolist(), [], triangles.tolist())
    pipe = bpy.data.objects.new("Pipe", mesh)
    bpy.context.scene.collection.objects.link(pipe)
    bpy.context.view_layer.objects.active = pipe
    pipe.select_set(True)
    mesh.uv_layers.new(name="UVMap")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.02)
    bpy.ops.object.mode_set(mode="OBJECT")
    paint(pipe)
    hdri_world()
    return pipe


@pytest.mark.parametrize(("quality", "rounds"), [("standard", 1), ("standard", 0), ("draft", 1)])
def test_a_fit_with_corrections_adds_views_and_says_so(addon, quality, rounds) -> None:
    add_pipe()
    small_fit()
    settings = bpy.context.scene.pbrfit
    settings.views, settings.view_size, settings.samples = TRAINING, 24, 1
    settings.quality, settings.rounds = quality, rounds
    session = start(addon)
    (fit,) = session._queue
    poll_until(session, lambda _status: fit.has_mesh)
    added = [view for view in fit.views if view.aimed]
    said = [note for note in fit.notes if 'of the surface of "Pipe"' in note]
    if not rounds or quality == "draft":
        assert (added, said) == ([], [])
        session.close()
        return
    assert 0 < len(added) <= TRAINING // 4
    assert said[0].startswith(f"{len(added)} view")
    assert fit.view_count == TRAINING // 2 + 2 + len(added)
    # All of them are rendered with the half of the others that a fit begins with.
    poll_until(session, lambda _status: fit.fully_rendered)
    assert {view.index for view in added} <= fit.rendered
    session.close()
