"""When something breaks: one line, the cure, and the log behind a button."""

from __future__ import annotations

import pytest
from support.blender.scenes import ready_cube, small_fit
from support.blender.session_steps import failure

bpy = pytest.importorskip("bpy")

CAUSE = "The backend ended with status 1. Its last words:\nTraceback\n  KeyError: 3\n"


def test_a_cause_is_one_line_and_its_log_is_apart(addon) -> None:
    errors = addon.common.errors
    assert errors.first_line(CAUSE) == "The backend ended with status 1."
    assert errors.log_of(CAUSE) == "Traceback\n  KeyError: 3"
    assert errors.first_line("All\n is well.") == "All is well."
    assert errors.log_of("All is well.") == ""


def test_the_log_of_a_backend_that_dies_is_behind_the_button(addon, tmp_path) -> None:
    ready_cube()
    small_fit()
    assert not bpy.ops.pbrfit.show_log.poll()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nfor n in 1 2 3 4 5; do echo line $n; done\nexit 3\n")
    python.chmod(0o755)
    addon.preferences.backend_python = str(python)
    assert bpy.ops.pbrfit.optimize() == {"FINISHED"}
    session = addon.session.session.current()
    assert "status 3" in failure(session)
    outcome = addon.ui.outcome
    assert outcome.last_log(session).splitlines()[-1] == "line 5"
    assert addon.common.errors.first_line(session.status.cause).count("\n") == 0
    assert bpy.ops.pbrfit.show_log.poll()
    assert bpy.ops.pbrfit.show_log("EXEC_DEFAULT") == {"FINISHED"}
    bpy.ops.pbrfit.dismiss()
    assert not bpy.ops.pbrfit.show_log.poll()
