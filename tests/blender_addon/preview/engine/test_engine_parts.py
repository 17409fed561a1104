"""Parts of the preview that need no window: references, the status lines about the backend, buttons."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")


def test_error_is_the_difference_of_srgb_values(addon) -> None:
    references = addon.preview.engine.references
    one = np.array([[[0.214041, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]], np.float32)
    other = np.array([[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]], np.float32)
    error = references.difference(one, other)
    assert addon.common.color.srgb_from_linear(error[0, 0, :3]) == pytest.approx((0.5, 0.0, 0.0), abs=1e-4)
    assert error[..., 3].tolist() == [[1.0, 0.0]]  # nothing is shown if neither image has anything there


def test_reference_lies_in_the_middle_of_the_region(addon) -> None:
    window = addon.preview.engine.references.fitted((256, 256), (900, 600))
    assert (window.x, window.y, window.width, window.height) == (150, 0, 600, 600)


def test_nearest_reference_looks_the_same_way(addon) -> None:
    views = addon.references.views.plan_views(np.zeros(3), 1.0, 12, 0, seed=0)
    for view in views:
        matrix = addon.common.axes.view_matrix(view.matrix_world)
        camera = addon.preview.scene.cameras.ImageCamera(
            matrix, np.eye(4), addon.preview.scene.cameras.Window(0, 0, 8, 8)
        )
        distances = [addon.preview.engine.references.distance(other, camera) for other in views]
        assert int(np.argmin(distances)) == view.index


def test_a_window_of_an_image_has_the_same_pixels(addon) -> None:
    """A point in the middle of a pixel of the window is in the middle of the same pixel of the image."""
    cameras, axes = addon.preview.scene.cameras, addon.common.axes
    size, window = (40, 30), addon.preview.scene.cameras.Window(10, 6, 16, 12)
    whole = axes.projection_matrix(0.7, size[0] / size[1], 0.1, 10.0)
    part = cameras.windowed(whole, window, size)
    point = np.array([0.13, -0.07, -2.0, 1.0])
    for projection, (width, height), (left, top) in ((whole, size, (0, 0)), (part, (16, 12), (10, 30 - 6 - 12))):
        clip = projection @ point
        place = (clip[:2] / clip[3] * 0.5 + 0.5) * (width, height) + (left, top)
        assert place == pytest.approx(
            (20.0 + 0.13 / 2.0 / np.tan(0.35) * 15.0, 15.0 + 0.07 / 2.0 / np.tan(0.35) * 15.0)
        )


def test_a_missing_backend_is_said_and_can_be_asked_again(addon, tmp_path) -> None:
    addon.preferences.backend_python = str(tmp_path / "nowhere")
    hub = addon.preview.engine.hub.hub()
    bpy.context.scene.pbrfit_preview.draw_with = "BACKEND"
    assert hub.connections.backend("any") is None
    said = addon.preview.engine.hub.lines(bpy.context.scene)
    assert "does not exist or cannot be run" in said[0][0]
    assert ("Blender's GPU draws meanwhile.", "NONE") in said
    assert addon.preview.engine.hub.can_connect()
    assert bpy.ops.pbrfit.connect_preview() == {"FINISHED"}
    assert hub.connections.trouble is None
    assert not addon.preview.engine.hub.can_connect()


def test_maps_that_grow_are_no_news_to_the_backend(addon) -> None:
    ready_cube()
    collect = addon.preview.scene.collector.PreviewCollector().collect
    first, second = collect(bpy.context.evaluated_depsgraph_get()), collect(bpy.context.evaluated_depsgraph_get())
    assert first is not second
    assert addon.preview.engine.connections.content_of(first) == addon.preview.engine.connections.content_of(second)
    bpy.context.object.location.x = 1.0
    moved = collect(bpy.context.evaluated_depsgraph_get())
    assert addon.preview.engine.connections.content_of(moved) != addon.preview.engine.connections.content_of(first)


def test_work_for_the_main_thread_is_done_there_or_given_up(addon):
    import threading

    module = addon.common.main_thread
    assert module.in_main_thread(lambda: threading.current_thread()) is threading.main_thread()
    done, said = [], []

    class GivenUp(Exception):
        pass

    def give_up():
        raise GivenUp

    def elsewhere():
        try:
            module.in_main_thread(lambda: done.append(True), give_up)
        except GivenUp:
            said.append("given up")

    thread = threading.Thread(target=elsewhere)
    thread.start()  # no timer runs in a Blender without a window, so this ends only by giving up
    thread.join(10.0)
    assert not thread.is_alive()
    assert said == ["given up"]
    assert not done
