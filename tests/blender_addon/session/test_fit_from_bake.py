"""A fit that begins with the bake: exact materials need none, of others the better one is kept, and what fails is said."""

from __future__ import annotations

import threading

import pytest
from support.blender.bake_steps import BACKEND_THREAD
from support.blender.mixed_cube import from_the_bake, near_enough_at, states_to_the_end
from support.blender.mixed_cube import mixed_cube as make_mixed_cube
from support.blender.scenes import datablocks, ready_cube
from support.blender.session_steps import finish, poll_until, start
from support.blender.shader_trees import Tree

bpy = pytest.importorskip("bpy")

STATES = ["exporting", "baking", "comparing", "starting", "rendering", "fitting", "comparing", "applying", "done"]


@pytest.fixture
def exact_cube(addon):
    """A cube of one Principled BSDF."""
    cube = ready_cube()
    from_the_bake()
    return cube


@pytest.fixture
def mixed_cube(addon, monkeypatch):
    """See `support.blender.mixed_cube`."""
    return make_mixed_cube(addon, monkeypatch)


def test_an_exact_material_needs_no_references_and_no_backend(addon, exact_cube) -> None:
    assert addon.ui.bake_verdicts.needs_no_fit(bpy.context)
    session = start(addon)
    states, _ = states_to_the_end(session)
    assert states == ["baking", "applying", "done"], session.status
    assert not any(BACKEND_THREAD in thread.name for thread in threading.enumerate())
    assert session.references() == []
    result = session.result
    assert result.compared == ()
    assert any("exactly" in note for note in result.notes)
    assert set(result.seconds) >= {"export", "bake", "apply", "total"}
    assert "exactly" in session.status.message
    assert [view for view in result.views if view.held_out]  # for a report
    assert "pbrfit" in exact_cube.active_material


def test_of_a_mix_the_better_one_is_kept_and_both_numbers_are_told(addon, mixed_cube) -> None:
    original = mixed_cube.active_material
    session = start(addon)
    states, fractions = states_to_the_end(session)
    assert session.status.state == "done", session.status
    assert states == [state for state in STATES if state in states or state == "comparing"]
    assert {"baking", "rendering", "fitting", "comparing", "applying"} <= set(states)
    assert fractions == sorted(fractions)
    (choice,) = session.result.compared
    assert set(choice["scores"]) == {"own", "unseen"}
    for score in choice["scores"].values():
        assert 5.0 < score["bake_db"] < 60.0
        assert 5.0 < score["fit_db"] < 60.0
    better = all(score["fit_db"] >= score["bake_db"] for score in choice["scores"].values())
    assert choice["kept"] == ("FIT" if better else "BAKE")
    (line,) = addon.session.verdict_text.compared_lines(["Look"], session.result.compared)
    assert line.startswith("Bake ")
    assert line.endswith("is kept")
    assert f"{choice['scores']['own']['fit_db']:.1f} dB" in line
    material = mixed_cube.active_material
    assert material != original
    verdict = addon.ui.operators_verdict.verdict_of(material)
    assert line in verdict.details
    assert verdict.decibels == min(score[f"{choice['kept'].lower()}_db"] for score in choice["scores"].values())
    kinds = {node.bl_idname for node in material.node_tree.nodes}
    # A fit has a map for everything; the bake of this mix is the same everywhere, and has none.
    assert ("ShaderNodeTexImage" in kinds) == (choice["kept"] == "FIT")
    assert original.use_fake_user


@pytest.mark.any_blender
def test_a_bake_that_is_near_enough_is_kept_without_references(addon, mixed_cube, monkeypatch) -> None:
    near_enough_at(addon, monkeypatch, 5.0)
    session = start(addon)
    states, fractions = states_to_the_end(session)
    assert states == ["baking", "comparing", "applying", "done"], session.status
    assert fractions == sorted(fractions)
    assert session.references() == []
    (choice,) = session.result.compared
    assert choice["kept"] == "BAKE"
    assert set(choice["scores"]) == {"own", "unseen"}
    line, took = addon.ui.operators_verdict.verdict_of(mixed_cube.active_material).details
    assert took.startswith("Made in ")
    assert line.startswith(f"Bake {choice['scores']['own']['bake_db']:.1f} dB in own light, ")
    assert line.endswith("so near that nothing was fitted")
    (fit,) = session._queue
    assert session.result.files == dict(fit.candidates.baked.files)
    assert [view for view in session.result.views if view.held_out]  # for a report
    assert "pbrfit" in mixed_cube.active_material


@pytest.mark.any_blender
def test_each_view_is_rendered_with_both_materials_and_the_light_of_the_others_is_not_shown(addon, mixed_cube) -> None:
    session = start(addon)
    poll_until(session, lambda status: status.state == "fitting")
    (fit,) = session._queue
    done, count = fit.renders
    assert done == count == 2 * fit.view_count
    assert fit.view_image(0).shape == (32, 32, 8)
    assert {view.light for view in fit.views} >= {0, 1}
    assert {view.light for view in fit.views if view.held_out} == {0}
    assert {"environment", "environment_1", "environment_2", "start_0", "surety_0"} <= set(fit.arrays)
    assert {reference.view.light for reference in session.references()} == {0}
    session.cancel()


@pytest.mark.any_blender
def test_a_material_that_cannot_be_baked_is_fitted_from_nothing_and_that_is_said(addon, mixed_cube) -> None:
    tree = Tree(mixed_cube.active_material.node_tree)
    toon = tree.new("BsdfToon")
    tree.link(toon, tree.output, "Surface")
    session = start(addon)
    finish(session)
    assert session.result.compared == ()
    assert any("cannot be baked" in note and "nothing that the nodes say" in note for note in session.result.notes)
    assert set(session.result.files) == {"kd.png", "orm.png", "normal.png"}
    # Nothing is rendered twice, so that each view has all of the samples; the lights are those of any fit.
    (fit,) = session._queue
    assert fit.renders == (fit.view_count, fit.view_count)
    assert fit.missing_plan()["cameras"]["samples"] == bpy.context.scene.pbrfit.samples
    assert {view.light for view in fit.views} == {0, 1, 2}


@pytest.mark.any_blender
def test_an_exact_material_whose_bake_fails_is_fitted(addon, exact_cube, monkeypatch) -> None:
    def fail(*_arguments: object) -> None:
        raise addon.common.errors.PbrFitError("The bake failed for this test.", "Try again.")

    monkeypatch.setattr(addon.session.baked_start, "MapBaker", fail)
    session = start(addon)
    finish(session)
    assert any("The bake failed" in note for note in session.result.notes)
    assert set(session.result.files) == {"kd.png", "orm.png", "normal.png"}


def test_a_slot_without_a_material_stays_empty_beside_an_exact_one(addon, exact_cube) -> None:
    exact_cube.data.materials.append(None)
    exact_cube.data.polygons[0].material_index = 1
    finish(start(addon))
    first, second = exact_cube.material_slots
    assert "pbrfit" in first.material
    assert second.material is None


@pytest.mark.any_blender
def test_without_a_comparison_the_bake_is_kept(addon, mixed_cube) -> None:
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering")
    (fit,) = session._queue
    fit.unseen_light = "/nowhere/light.exr"
    finish(session)
    assert any("Nothing could be compared, so the bake is kept" in note for note in session.result.notes)
    assert session.result.files == dict(fit.candidates.baked.files)


@pytest.mark.any_blender
def test_cancelling_while_it_bakes_or_compares_leaves_nothing(addon, mixed_cube) -> None:
    before = datablocks()
    for state in ("baking", "comparing"):
        session = start(addon)
        poll_until(session, lambda status, state=state: status.state == state)
        session.cancel()
        assert session.status.state == "cancelled"
        assert session._folder is None
        assert datablocks() == before
