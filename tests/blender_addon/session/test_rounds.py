"""Rounds of correction: Cycles renders the fitted maps, the fit goes on with what differs, and the best is kept."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.mixed_cube import mixed_cube as make_mixed_cube
from support.blender.mixed_cube import near_enough_at, states_to_the_end
from support.blender.session_steps import finish, poll_until, start

bpy = pytest.importorskip("bpy")


@pytest.fixture
def mixed_cube(addon, monkeypatch):
    """See `support.blender.mixed_cube`; its fit may be corrected once."""
    cube = make_mixed_cube(addon, monkeypatch)
    bpy.context.scene.pbrfit.rounds = 1
    bpy.context.scene.pbrfit.views = 6
    return cube


@pytest.mark.any_blender
def test_a_fit_that_is_not_near_enough_is_corrected_with_all_views(addon, mixed_cube) -> None:
    session = start(addon)
    poll_until(session, lambda status: status.state == "fitting")
    (fit,) = session._queue
    first = set(fit.rendered)
    assert len([index for index in first if not fit.views[index].held_out]) == 3
    assert "correction" in fit.settings.to_dict()
    states, fractions = states_to_the_end(session)
    assert session.status.state == "done", session.status
    assert states == ["fitting", "comparing", "rendering", "fitting", "comparing", "applying", "done"]
    assert fractions == sorted(fractions)
    assert fit.round == 1
    assert fit.settings.correction == 1
    assert first < fit.rendered
    assert fit.rendered == fit.rendered_candidate == set(range(fit.view_count))
    (choice,) = session.result.compared
    assert set(choice["scores"]["own"]) == {"bake_db", "fit_db", "round_1_db"}
    assert session.result.files == fit.candidates.files_of(choice["kept"], 0)
    assert session.result.metrics["rounds"][0]["iterations"] > 0
    assert {"render", "fit", "check", "correct", "compare"} <= set(session.result.seconds)


@pytest.mark.any_blender
def test_a_round_begins_with_the_fits_own_maps_and_their_renders(addon, mixed_cube) -> None:
    bpy.context.scene.pbrfit.start = "GRAY"
    session = start(addon)
    (fit,) = session._queue
    poll_until(session, lambda _status: fit.round == 1 and session.status.state == "fitting")
    assert fit.candidate == "FIT"
    size = fit.settings.resolution
    assert fit.arrays["start_0"].shape == (size, size, 9)
    assert not fit.arrays["surety_0"].any()  # nothing of it is known
    image = fit.view_image(0)
    assert image.shape[2] == 8
    assert not np.array_equal(image[..., :4], image[..., 4:])
    # The same random numbers light both: they differ by the materials and not by noise.
    opaque = (image[..., 3] > 0.99) & (image[..., 7] > 0.99)
    assert np.corrcoef(image[opaque][:, :3].ravel(), image[opaque][:, 4:7].ravel())[0, 1] > 0.6
    finish(session)
    (choice,) = session.result.compared
    assert set(choice["scores"]["own"]) == {"fit_db", "round_1_db"}


@pytest.mark.any_blender
def test_a_fit_that_is_near_enough_gets_no_round_and_no_more_views(addon, mixed_cube, monkeypatch) -> None:
    bpy.context.scene.pbrfit.start = "GRAY"
    near_enough_at(addon, monkeypatch, 3.0)
    session = start(addon)
    finish(session)
    (fit,) = session._queue
    assert fit.round == 0
    assert len(fit.rendered) == 3 + bpy.context.scene.pbrfit.held_out_views
    (choice,) = session.result.compared
    assert choice["kept"] == "FIT"


def test_maps_that_are_taken_as_they_are_get_no_round(addon, mixed_cube) -> None:
    session = start(addon)
    poll_until(session, lambda status: status.state == "fitting")
    session.apply_now()
    finish(session)
    (fit,) = session._queue
    assert fit.round == fit.rounds == 0


@pytest.mark.any_blender
def test_a_round_that_is_worse_is_not_kept(addon, mixed_cube) -> None:
    session = start(addon)
    (fit,) = session._queue
    poll_until(session, lambda _status: fit.round == 1 and session.status.state == "fitting")
    poll_until(session, lambda _status: "ROUND_1" in fit.candidates.fits)
    for name in ("kd.png",):  # what the backend sent, spoiled
        fit.candidates.fits["ROUND_1"][name] = fit.candidates.fits["FIT"]["normal.png"]
    finish(session)
    (choice,) = session.result.compared
    assert choice["kept"] != "ROUND_1"
    assert session.result.files == fit.candidates.files_of(choice["kept"], 0)


def test_a_light_that_is_learned_is_not_corrected(addon, mixed_cube) -> None:
    bpy.context.scene.pbrfit.learn_light = True
    session = start(addon)
    (fit,) = session._queue
    assert fit.rounds == 0
    assert fit.wanted == 6
    assert fit.light == "BOTH"
    session.cancel()
