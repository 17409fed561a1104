"""F12 with PBRfit Preview: passes, borders, film and frames, from the backend and from Blender's own GPU alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.blender.exr_passes import read_passes, write_passes
from support.blender.scenes import hdri_world, paint, snapshot

bpy = pytest.importorskip("bpy")

SIZE = (96, 64)
CLOSE_DB = 40.0


@pytest.fixture
def scene(addon):
    """A painted ball and a golden, mirrored head in front of a forest, seen by a camera."""
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1.0, location=(-1.1, 0.0, 0.0))
    bpy.ops.object.shade_smooth()
    paint(bpy.context.object)
    bpy.ops.mesh.primitive_monkey_add(location=(1.2, 0.0, 0.0))
    head = bpy.context.object
    head.scale = (-1.0, 1.0, 1.2)
    bpy.ops.object.shade_smooth()
    gold = paint(head, "Gold").node_tree.nodes["Principled BSDF"]
    gold.inputs["Metallic"].default_value = 1.0
    hdri_world()
    bpy.ops.object.camera_add(location=(0.0, -7.0, 1.5), rotation=(1.36, 0.0, 0.0))
    scene.camera = bpy.context.object
    scene.render.engine = "PBRFIT_PREVIEW"
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.resolution_percentage = 100
    scene.pbrfit_preview.render_samples = "4"
    return scene


def with_all_passes(layer) -> None:
    layer.use_pass_z = layer.use_pass_normal = True
    layer.pbrfit_preview.use_kd = layer.pbrfit_preview.use_orm = True


def rendered(scene, folder: Path, draw_with: str) -> dict[str, np.ndarray]:
    """The passes of an F12."""
    scene.pbrfit_preview.draw_with = draw_with
    write_passes(folder / f"{draw_with}.exr")
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    return read_passes(folder / f"{draw_with}.exr")


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """The PSNR between two images, with values clipped at 1, in dB."""
    error = np.mean((np.clip(one, -1.0, 1.0) - np.clip(other, -1.0, 1.0)) ** 2)
    return 99.0 if error == 0.0 else float(-10.0 * np.log10(error))


def away_from_edges(depth: np.ndarray) -> np.ndarray:
    """Pixels with about the same depth [h, w, 1] all around: bool [h, w]."""
    plane = np.log(np.minimum(depth[..., 0], 1e3))
    padded = np.pad(plane, 1, mode="edge")
    shifts = [padded[y : y + plane.shape[0], x : x + plane.shape[1]] for y in range(3) for x in range(3)]
    return np.ptp(np.stack(shifts), axis=0) < 0.03


def test_passes_of_the_backend_and_of_blenders_gpu_are_alike(addon, scene, tmp_path) -> None:
    with_all_passes(bpy.context.view_layer)
    # With several samples in a pixel, the backend shades all on one triangle together; the GPU shades each.
    scene.pbrfit_preview.render_samples = "1"
    before = snapshot()
    backend = rendered(scene, tmp_path, "BACKEND")
    gpu = rendered(scene, tmp_path, "GPU")
    after = snapshot()
    # Only Blender's own Render Result is new, and this test has set the path of the image.
    assert set(after["datablocks"]) - set(before["datablocks"]) == {"images/Render Result"}
    for name in ("active", "selected", "mode", "world", "slots", "matrices", "vertices", "attributes"):
        assert after[name] == before[name], name
    assert {name: found.shape for name, found in backend.items()} == {
        "Combined": (64, 96, 4),
        "Depth": (64, 96, 1),
        "Normal": (64, 96, 3),
        "kd": (64, 96, 4),
        "ORM": (64, 96, 3),
    }
    inner = away_from_edges(backend["Depth"])
    assert inner.mean() > 0.5
    for name in ("Combined", "Normal", "kd", "ORM"):
        assert psnr(backend[name][inner], gpu[name][inner]) > CLOSE_DB, name
    assert np.allclose(backend["Depth"][inner], gpu["Depth"][inner], rtol=1e-3)


def test_values_of_the_passes(addon, scene, tmp_path) -> None:
    with_all_passes(bpy.context.view_layer)
    passes = rendered(scene, tmp_path, "GPU")
    row, column = SIZE[1] // 2, SIZE[0] // 2 - 16  # the painted ball
    assert passes["kd"][row, column] == pytest.approx((0.8, 0.3, 0.1, 1.0), abs=2e-3)
    assert passes["ORM"][row, column] == pytest.approx((1.0, 0.4, 0.0), abs=2e-3)
    normal = passes["Normal"][row, column]
    assert np.linalg.norm(normal) == pytest.approx(1.0, abs=0.02)
    assert normal[1] < -0.8  # it faces the camera, which is at -Y
    assert 5.5 < passes["Depth"][row, column, 0] < 7.0
    assert passes["Depth"][2, 2, 0] == pytest.approx(1e10)
    assert passes["kd"][2, 2].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert (passes["Combined"][..., 3] == 1.0).all()  # the world is behind everything


def test_the_backends_render_is_that_of_its_preview_to_the_bit(addon, scene, tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from backend.preview.scene import LoadedScene
    from backend.protocol.frames import FrameRequest
    from backend.protocol.scene_description import SceneDescription

    combined = rendered(scene, tmp_path, "BACKEND")["Combined"]
    depsgraph = bpy.context.evaluated_depsgraph_get()
    shown = addon.preview.scene.collector.PreviewCollector().collect(depsgraph)
    described, arrays = addon.preview.scene.scene.description(shown)
    loaded = LoadedScene(SceneDescription.from_dict(described.to_dict()), arrays, torch.device("cpu"))
    camera = addon.preview.scene.cameras.render_camera(depsgraph)
    request = FrameRequest(
        "test", 1, camera.view.tolist(), camera.projection.tolist(), *SIZE, spp=2, background="light", dtype="float32"
    )
    frame = loaded.frame(request)
    top, left, height, width = frame.rect
    direct = np.zeros((SIZE[1], SIZE[0], 4), np.float32)
    direct[top : top + height, left : left + width] = frame.image.numpy()[-height:, -width:]
    assert np.array_equal(combined.astype(np.float16), direct.astype(np.float16))


@pytest.mark.parametrize("draw_with", ["BACKEND", "GPU"])
def test_border(addon, scene, tmp_path, draw_with) -> None:
    whole = rendered(scene, tmp_path, draw_with)["Combined"]
    render = scene.render
    render.use_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.25, 0.75, 0.5, 1.0
    inside = np.s_[0:32, 24:72]
    framed = rendered(scene, tmp_path, draw_with)["Combined"]
    assert framed.shape == whole.shape
    assert psnr(framed[inside], whole[inside]) > CLOSE_DB
    framed[inside] = 0.0
    assert not framed.any()
    render.use_crop_to_border = True
    cropped = rendered(scene, tmp_path, draw_with)["Combined"]
    assert cropped.shape == (32, 48, 4)
    assert psnr(cropped, whole[inside]) > CLOSE_DB


def test_transparent_film(addon, scene, tmp_path) -> None:
    scene.render.film_transparent = True
    for draw_with in ("BACKEND", "GPU"):
        alpha = rendered(scene, tmp_path, draw_with)["Combined"][..., 3]
        assert alpha[2, 2] == 0.0
        assert alpha[SIZE[1] // 2, SIZE[0] // 2 - 16] == 1.0


def test_frames_of_an_animation_share_a_connection(addon, scene, tmp_path, monkeypatch) -> None:
    ball = bpy.data.objects["Sphere"]
    for frame, height in ((1, 0.0), (2, 1.0)):
        ball.location.z = height
        ball.keyframe_insert("location", index=2, frame=frame)
    scene.frame_start, scene.frame_end = 1, 2
    scene.pbrfit_preview.draw_with = "BACKEND"
    write_passes(tmp_path / "frame_")
    connections = []
    connect = addon.preview.engine.backend.PreviewBackend
    monkeypatch.setattr(
        addon.preview.engine.final_sources,
        "PreviewBackend",
        lambda *given: connections.append(connect(*given)) or connections[-1],
    )
    assert bpy.ops.render.render(animation=True) == {"FINISHED"}
    first, second = (read_passes(path)["Combined"] for path in sorted(tmp_path.glob("frame_*.exr")))
    assert psnr(first, second) < 30.0
    assert len(connections) == 1
    assert not connections[0].client.connected  # it has ended with the render


class StoppedEngine:
    """A render engine whose artist presses Escape while the backend draws."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked_while_drawing = 0

    def test_break(self) -> bool:
        drawing = any("drawn by" in text for text in self.said)
        self.asked_while_drawing += drawing
        return drawing

    def update_stats(self, _stats: str, info: str) -> None:
        self.said.append(info)

    def update_progress(self, _fraction: float) -> None:
        pass

    def add_pass(self, *_arguments, **_named) -> None:
        pass


def test_stopping_ends_the_render(addon, scene) -> None:
    """Without a window, Blender does not ask Python whether to stop; so another engine does, which cannot write a result."""
    scene.pbrfit_preview.draw_with = "BACKEND"
    engine = StoppedEngine()
    with pytest.raises(addon.preview.engine.final_sources.Stopped):
        addon.preview.engine.final.render_layer(engine, bpy.context.evaluated_depsgraph_get())
    assert engine.said == ["Reading the scene", "Combined, drawn by the backend"]
    assert engine.asked_while_drawing == 1


def test_without_a_backend_the_gpu_draws_with_the_kept_light(addon, scene, tmp_path, monkeypatch) -> None:
    with_backend = rendered(scene, tmp_path, "GPU")["Combined"]  # keeps the light
    addon.setup.backend_process.stop_local_backend()
    addon.preferences.backend_python = str(tmp_path / "nowhere")
    without = rendered(scene, tmp_path, "AUTOMATIC")["Combined"]
    assert np.array_equal(with_backend, without)


def test_no_backend_and_no_light_is_said(addon, scene, tmp_path) -> None:
    for path in addon.preview.scene.light.lights_folder(create=True).glob("*.npz"):
        path.unlink()
    addon.preferences.backend_python = str(tmp_path / "nowhere")
    scene.pbrfit_preview.draw_with = "GPU"
    with pytest.raises(RuntimeError, match="does not exist or cannot be run"):
        bpy.ops.render.render()


def test_icon_of_a_material(addon) -> None:
    look = dataclasses.replace(addon.preview.scene.scene.NEUTRAL, kd=(0.8, 0.1, 0.1), roughness=0.4)
    icon = addon.preview.engine.icon.ball(look, 64, 48)
    assert icon.shape == (48, 64, 4)
    assert np.isfinite(icon).all()
    assert icon[0, 0].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert icon[24, 32, 3] == 1.0
    assert icon[24, 32, 0] > 2.0 * icon[24, 32, 1]


def test_blenders_own_panels_hold_for_the_engine_until_it_goes(addon) -> None:
    panels = [bpy.types.RENDER_PT_format, bpy.types.RENDER_PT_output, bpy.types.EEVEE_MATERIAL_PT_surface]
    panels += [bpy.types.DATA_PT_lens, bpy.types.RENDER_PT_color_management, bpy.types.EEVEE_WORLD_PT_surface]
    assert all("PBRFIT_PREVIEW" in panel.COMPAT_ENGINES for panel in panels)
    bpy.ops.preferences.addon_disable(module=addon.name)
    left = [
        panel.__name__
        for panel in bpy.types.Panel.__subclasses__()
        if "PBRFIT_PREVIEW" in getattr(panel, "COMPAT_ENGINES", ())
    ]
    assert left == []
    assert not hasattr(bpy.types.Scene, "pbrfit_preview")
    assert not hasattr(bpy.types.ViewLayer, "pbrfit_preview")
    assert not hasattr(bpy.types, "PBRFIT_PreviewEngine")
