"""The end of a fit is said in one line, and the progress is in the status bar."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from support.blender.bake_steps import chessboard_cube, small_bake, start_bake
from support.blender.scenes import ready_cube, small_fit
from support.blender.session_steps import failure, finish, start

bpy = pytest.importorskip("bpy")


def bars(addon) -> list[dict]:
    """What is drawn in the status bar."""
    drawn: list[dict] = []
    row = SimpleNamespace(progress=lambda **values: drawn.append(values))
    header = SimpleNamespace(layout=SimpleNamespace(row=lambda: row))
    addon.ui.announcements.draw_status_bar(header, bpy.context)
    return drawn


def test_the_end_is_said_with_the_verdict(addon) -> None:
    small_bake()
    chessboard_cube()
    session = start_bake(addon)
    assert addon.ui.announcements.end_of(session) == ("INFO", "")
    (bar,) = bars(addon)
    assert bar["text"].startswith("PBRfit: ")
    finish(session)
    assert bars(addon) == []
    kind, line = addon.ui.announcements.end_of(session)
    assert kind == "INFO"
    assert line.startswith('PBRfit: "Paint PBRfit": Good (')
    assert bpy.ops.pbrfit.announce(kind=kind, text=line) == {"FINISHED"}


def test_the_end_stays_in_the_status_bar_after_blenders_own_report(addon, monkeypatch) -> None:
    small_bake()
    chessboard_cube()
    session = start_bake(addon)
    finish(session)
    addon.ui.announcements.announce(session)
    ended = time.monotonic()
    said: list[str] = []
    header = SimpleNamespace(layout=SimpleNamespace(label=lambda text, **_values: said.append(text)))
    for later, wanted in ((1.0, 0), (30.0, 1), (10_000.0, 1)):
        monkeypatch.setattr(addon.ui.announcements.time, "monotonic", lambda later=later: ended + later)
        addon.ui.announcements.draw_status_bar(header, bpy.context)
        assert len(said) == wanted, later
    assert said[0].startswith('PBRfit: "Paint PBRfit": Good (')


def test_a_failure_is_said_in_one_line(addon, tmp_path) -> None:
    ready_cube()
    small_fit()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho a long log\nexit 3\n")
    python.chmod(0o755)
    addon.preferences.backend_python = str(python)
    session = start(addon)
    failure(session)
    kind, line = addon.ui.announcements.end_of(session)
    assert (kind, line) == ("WARNING", "PBRfit: the fit failed. The backend ended with status 3.")


def test_nothing_is_said_of_what_was_cancelled(addon) -> None:
    ready_cube()
    small_fit()
    session = start(addon)
    session.cancel()
    assert addon.ui.announcements.end_of(session)[1] == ""
    assert bars(addon) == []


def test_without_a_window_nothing_is_notified(addon, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(addon.ui.announcements.notifying, "notify", lambda *texts: shown.append(texts) or True)
    work = SimpleNamespace(seconds=1e6)
    assert addon.preferences.notify_when_done
    assert not addon.ui.announcements.tell_who_is_away(work, "Title", "Text")
    assert shown == []
    # As in a window, by somebody who is elsewhere; the window test does it with a real one.
    window = SimpleNamespace(app=SimpleNamespace(background=False), context=SimpleNamespace())
    window.context.window_manager = SimpleNamespace(windows=[None])
    window.context.preferences = bpy.context.preferences
    monkeypatch.setattr(addon.ui.announcements, "bpy", window)
    for focus, wanted in ((True, False), (False, True), (None, True)):
        monkeypatch.setattr(addon.ui.announcements, "has_focus", lambda focus=focus: focus)
        assert addon.ui.announcements.tell_who_is_away(work, "Title", "Text") is wanted
    assert not addon.ui.announcements.tell_who_is_away(SimpleNamespace(seconds=5.0), "Title", "Text")
    addon.preferences.notify_when_done = False
    try:
        assert not addon.ui.announcements.tell_who_is_away(work, "Title", "Text")
    finally:
        addon.preferences.notify_when_done = True
    assert shown == [("Title", "Text")] * 2


def test_the_status_bar_is_given_back(addon) -> None:
    def entries() -> int:
        functions = bpy.types.STATUSBAR_HT_header._dyn_ui_initialize()
        return sum(function.__name__ == "draw_status_bar" for function in functions)

    assert entries() == 1
    bpy.ops.preferences.addon_disable(module=addon.name)
    assert entries() == 0
    bpy.ops.preferences.addon_enable(module=addon.name)
    assert entries() == 1


@pytest.mark.parametrize(("shading", "hidden"), [("SOLID", True), ("WIREFRAME", True), ("MATERIAL", False)])
def test_a_view_that_shows_no_materials_is_known(addon, shading, hidden) -> None:
    space = SimpleNamespace(type="VIEW_3D", shading=SimpleNamespace(type=shading))
    assert addon.ui.announcements.hides_materials(SimpleNamespace(space_data=space)) is hidden
    assert not addon.ui.announcements.hides_materials(SimpleNamespace(space_data=None))
