"""Nothing of a file is lost: a full comparison of all its datablocks before a fit, after failures, and after Revert."""

from __future__ import annotations

import pytest
from support.blender.complex_file import build_complex_file
from support.blender.file_fingerprint import differences, fingerprint
from support.blender.scenes import small_fit
from support.blender.session_steps import backend_of, failure, finish, poll_until, rendered, start

bpy = pytest.importorskip("bpy")


@pytest.fixture
def chair(addon, tmp_path):
    """The object to fit in a complex file, with settings for a fit that takes seconds."""
    small_fit()
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.view_size, settings.samples = 16, 24, 1
    settings.views, settings.held_out_views = 8, 1
    return build_complex_file(tmp_path)


def revert_in_object_mode() -> None:
    """Revert, which works in Object Mode only, and go back to the previous mode."""
    bpy.ops.object.mode_set(mode="OBJECT")
    assert bpy.ops.pbrfit.revert() == {"FINISHED"}
    bpy.ops.object.mode_set(mode="WEIGHT_PAINT")


def test_the_comparison_sees_small_changes(chair) -> None:
    """What the other tests rely on: each of these changes shows, and where."""
    before = fingerprint()
    assert differences(before, fingerprint()) == []
    assert sum(len(lines) for lines in before.values()) > 10_000
    changes = {
        "objects/Chair": lambda: setattr(chair.modifiers["Bevel"], "width", 0.06),
        "shape_keys/Key": lambda: setattr(bpy.data.shape_keys["Key"].key_blocks["Squash"].data[0], "co", (9, 9, 9)),
        "meshes/Cube": lambda: setattr(chair.data.vertices[3], "co", (1.5, 1.5, 1.5)),
        "materials/Varnish": lambda: bpy.data.materials["Varnish"].__setitem__("coats", [1, 2, 4]),
        "scenes/Packshot": lambda: setattr(bpy.data.scenes["Packshot"].cycles, "samples", 18),
        "state": lambda: bpy.ops.object.mode_set(mode="OBJECT"),
    }
    for owner, change in changes.items():
        before = fingerprint()
        change()
        assert [line for line in differences(before, fingerprint()) if line.startswith(owner)], owner


def test_fit_and_revert_leave_everything_as_it_was(addon, chair) -> None:
    before = fingerprint()
    session = start(addon)
    assert differences(before, fingerprint()) == []
    finish(session)
    assert len(session.result.materials) == 2
    changed = differences(before, fingerprint())
    assert any(line.startswith("new: materials/") for line in changed)
    # Except for what is new, only the fitted object and its originals (a fake user) have changed, and their user counts.
    old = {line.split(" ")[0] for line in changed if not line.startswith("new: ")}
    assert old <= {"objects/Chair", "materials/Varnish", "materials/Library"}, changed
    revert_in_object_mode()
    assert differences(before, fingerprint()) == []


@pytest.mark.any_blender
def test_a_killed_backend_leaves_the_file_as_it_was_at_ten_points(addon, chair) -> None:
    """The backend is killed again and again, at later and later points of the same fit, which is resumed each time."""
    bpy.context.scene.pbrfit.quality = "high"
    bpy.context.scene.pbrfit.resolution = 128
    before = fingerprint()
    session = start(addon)
    points = [
        ("at once", lambda status: True),
        ("connected", lambda status: True),
        *((f"{count} views", lambda status, count=count: rendered(session) >= count) for count in (1, 2, 4, 6, 8)),
        ("all views", lambda status: status.state == "fitting"),
        *((f"{count} iterations", lambda status, count=count: status.iteration >= count) for count in (1, 50)),
    ]
    reached = []
    for name, point in points:
        # A backend that dies while it starts again is started once more; so kill only one that is connected.
        poll_until(session, lambda status, point=point: (session._link.connected or not reached) and point(status))
        backend_of(session).kill()
        assert "The backend ended with status -9." in failure(session), name
        assert session.status.can_resume, name
        assert differences(before, fingerprint()) == [], name
        assert bpy.ops.pbrfit.resume() == {"FINISHED"}
        reached.append(name)
    assert len(reached) == 10
    finish(session)
    revert_in_object_mode()
    assert differences(before, fingerprint()) == []
