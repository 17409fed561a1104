"""What a fit says of its light and of what no view sees."""

from __future__ import annotations

import pytest
from support.blender.scenes import ready_cube, small_fit
from support.blender.session_steps import start

bpy = pytest.importorskip("bpy")


@pytest.fixture
def small_cube(addon):
    """A cube that is ready for a small fit."""
    cube = ready_cube()
    small_fit()
    return cube


@pytest.fixture
def fit(addon, small_cube):
    """The fit of a session that was begun and closed."""
    session = start(addon)
    (found,) = session._queue
    session.close()
    return found


@pytest.mark.parametrize(("share", "said"), [(0.0, False), (0.01, False), (0.124, True)])
def test_what_no_view_sees_is_named_with_its_share(fit, share, said) -> None:
    fit.candidates.take_fit("FIT", {"kd.png": b""}, {"texels_unseen": share})
    before = fit.notes
    fit.name_what_is_unseen()
    new = fit.notes[len(before) :]
    assert len(new) == said
    if said:
        assert new == ('No view sees 12% of the maps of "Cube": that part is filled from what is around it.',)


def test_what_counts_is_what_the_views_of_the_kept_fit_saw(fit) -> None:
    fit.rounds = fit.round = 1
    first = {"texels_unseen": 0.5, "sets": [{"unseen": "first"}]}
    fit.candidates.take_fit("FIT", {"kd.png": b""}, first)
    fit.candidates.take_fit("ROUND_1", {"kd.png": b""}, {"texels_unseen": 0.2, "sets": [{"unseen": "second"}]})
    assert first["sets"] == [{}]  # the masks are kept once
    assert fit.record["unseen"] == ["first"]
    fit.candidates.choices = ({"kept": "ROUND_1"},)
    assert fit.record["unseen"] == ["second"]
    assert fit.record["unseen_share"] == 0.2
    fit.name_what_is_unseen()
    assert "20%" in fit.notes[-1]


def test_a_bake_sees_everything(fit) -> None:
    fit.candidates.take_fit("FIT", {"kd.png": b""}, {"texels_unseen": 0.5, "sets": [{"unseen": "mask"}]})
    fit.candidates.choices = ({"kept": "BAKE"},)
    assert fit.record["unseen"] == [""]
    before = fit.notes
    fit.name_what_is_unseen()
    assert fit.notes == before


def test_studio_light_in_place_of_the_scenes_is_said(addon, small_cube) -> None:
    bpy.context.scene.world = None
    session = start(addon)
    (fit,) = session._queue
    assert fit.light == "STUDIO"
    assert not fit.has_own_light
    assert any("Studio light: there is no world" in note for note in fit.notes)
    session.close()
