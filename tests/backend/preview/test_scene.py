"""Scenes of the preview: what they show against `render_mesh`, and what is kept from one to the next."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.shapes import joined, plane, sphere, studio, wire_arrays

from backend.preview.look import PreviewError
from backend.preview.place import placed
from backend.preview.scene import LoadedScene
from backend.protocol.frames import NO_DEPTH
from backend.protocol.scene_description import SceneDescription
from backend.protocol.wire import ProtocolError
from render.core.color import srgb_to_linear
from render.core.image_io import encode_image
from render.geometry.camera import Camera, look_at, orthographic, perspective
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.light.environment import env_from_latlong
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps, initial_maps
from render.preview.renderer import PreviewRenderer

SIZE = (40, 56)
ASPECT = SIZE[1] / SIZE[0]
CAMERA = Camera(look_at(torch.tensor([0.5, 1.0, 4.0]), torch.zeros(3)), perspective(0.7, ASPECT))
FLAT = Camera(look_at(torch.tensor([0.5, 1.0, 4.0]), torch.zeros(3)), orthographic(1.6, ASPECT))
GREY = {"kd": [0.6, 0.3, 0.1], "roughness": 0.4, "metallic": 0.25}
MESH_NAMES = ("vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv", "triangles")


class Scene:
    """A description and its arrays in the making."""

    def __init__(self) -> None:
        self.description: dict = {"parts": [], "light": None}
        self.arrays: dict[str, np.ndarray] = {}

    def lit(self) -> Scene:
        self.description["light"] = "light"
        self.arrays["light"] = studio(16)
        return self

    def image(self, name: str, image: np.ndarray, channel: int | None = None, encoding: str = "linear") -> dict:
        self.arrays[name] = image
        return {"array": name, "channel": channel, "encoding": encoding}

    def add(
        self, mesh: Mesh, look: dict | None = None, matrix: np.ndarray | None = None, job: dict | None = None
    ) -> Scene:
        number = len(self.description["parts"])
        names = {name: f"{name}{number}" for name in MESH_NAMES}
        self.arrays |= {names[name]: array for name, array in wire_arrays(mesh).items() if name in names}
        matrix = np.eye(4) if matrix is None else matrix
        part = {"mesh": names, "matrix": matrix.tolist(), "look": GREY if look is None else look, "job": job}
        self.description["parts"].append(part)
        return self

    @property
    def described(self) -> SceneDescription:
        return SceneDescription.from_dict(self.description)

    def load(self) -> LoadedScene:
        return LoadedScene(self.described, self.arrays, "cpu")


def request(camera: Camera = CAMERA, channel: str = "shaded", **options) -> SimpleNamespace:
    values = {"width": SIZE[1], "height": SIZE[0], "spp": 1, "background": "none", "dtype": "float32", "layers": 1}
    matrices = {"view": camera.view.double().tolist(), "projection": camera.projection.double().tolist()}
    return SimpleNamespace(**(values | matrices | {"channel": channel} | options))


def image_of(scene: LoadedScene, *arguments, **options) -> torch.Tensor:
    return scene.frame(request(*arguments, **options)).image.clone()


def grey_maps(kd=(0.6, 0.3, 0.1), roughness: float = 0.4, metallic: float = 0.25, resolution: int = 4) -> MaterialMaps:
    maps = initial_maps(resolution, alpha=False, color=torch.tensor(kd))
    maps.texels[..., ROUGHNESS], maps.texels[..., METALLIC] = roughness, metallic
    return maps


def studio_light():
    return env_from_latlong(torch.from_numpy(studio(16)), 256).build_mips()


def drawn(mesh: Mesh, maps: MaterialMaps, camera: Camera = CAMERA, **options) -> torch.Tensor:
    return render_mesh(mesh, camera, maps, studio_light(), SIZE, antialiased=False, **options)["shaded"][0].detach()


def moved(x: float, y: float = 0.0, z: float = 0.0, scale: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    matrix = np.diag([*scale, 1.0])
    matrix[:3, 3] = x, y, z
    return matrix


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 2e-3) -> None:
    assert bool((theirs[..., 3] > 0).any()), "something is in sight"
    torch.testing.assert_close(ours.float(), theirs, rtol=tolerance, atol=tolerance)


def test_one_part_is_drawn_as_render_mesh_draws_it():
    scene = Scene().lit().add(sphere()).load()
    assert_same(image_of(scene), drawn(sphere(), grey_maps()))
    assert_same(image_of(scene, spp=2), drawn(sphere(), grey_maps(), spp=2, msaa=True))
    half = scene.frame(request(dtype="float16")).image
    assert half.dtype == torch.float16
    assert_same(half, drawn(sphere(), grey_maps()))


@pytest.mark.parametrize("spp", [1, 2])
def test_several_parts_hide_each_other(spp):
    """A ball through a square: as one mesh whose halves have other colours."""
    ball, floor = sphere(radius=0.8), plane(1.2, 0.1)
    scene = Scene().lit().add(ball).add(floor, GREY | {"kd": [0.1, 0.8, 0.2]}).load()
    both = joined(ball, floor)
    uv = torch.cat([torch.full((len(ball.uv), 2), 0.25), torch.full((len(floor.uv), 2), 0.75)])
    both = Mesh(both.position, both.normal, both.tangent, uv, both.triangles, both.material)
    maps = grey_maps(resolution=2)
    maps.texels[1, 1, KD] = torch.tensor([0.1, 0.8, 0.2])
    ours = image_of(scene, channel="kd", spp=spp)
    assert_same(ours, drawn(both, maps, bsdf="kd", spp=spp, msaa=spp > 1))
    assert {0.1, 0.6} <= set(ours[..., 0].unique().double().round(decimals=4).tolist())


@pytest.mark.parametrize("scale", [(0.5, 1.4, 1.0), (-0.7, 0.7, 0.7)])
def test_parts_are_placed_and_moved(scale):
    """Scaled unevenly, and mirrored, whose tangents and windings turn round; then moved, with all else kept."""
    look = Scene().lit()
    normals = np.zeros((8, 8, 4), np.float32)
    normals[..., :3] = [0.8, 0.5, 0.9]
    picture = look.image("normal", normals)
    first = look.add(sphere(), GREY | {"normal": picture}, moved(0.3, 0.1, scale=scale))
    scene = first.load()
    maps = grey_maps(resolution=8)
    maps.texels[..., NORMAL] = torch.tensor([0.6, 0.0, 0.8])
    for matrix in (moved(0.3, 0.1, scale=scale), moved(-0.4, 0.2, 0.5, scale=scale)):
        first.description["parts"][0]["matrix"] = matrix.tolist()
        renderer = scene._renderer
        assert scene.updated(first.described, first.arrays)._renderer is renderer
        assert_same(image_of(scene, channel="normal"), drawn(placed(sphere(), matrix), maps, bsdf="normal"))
        assert_same(image_of(scene), drawn(placed(sphere(), matrix), maps))


def test_a_mirrored_mesh_is_a_mirror_image():
    """Its faces look where the others' images do, and the texture's axes run where theirs run."""
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    there, here = placed(sphere(), moved(0, scale=(-1, 1, 1))), sphere()
    bitangents = [torch.linalg.cross(mesh.normal, mesh.tangent[:, :3]) * mesh.tangent[:, 3:] for mesh in (there, here)]
    a, b, c = here.position[here.triangles].unbind(1)
    has_area = torch.linalg.cross(b - a, c - a).norm(dim=-1) > 1e-4
    assert int(has_area.sum()) > 2000
    faces = [mesh.geometric_normal[has_area] for mesh in (there, here)]
    torch.testing.assert_close(faces[0], faces[1] * mirror, atol=1e-4, rtol=0)
    torch.testing.assert_close(bitangents[0], bitangents[1] * mirror, atol=1e-4, rtol=0)


def test_channels_of_textures():
    """Encoded colours, numbers in channels, alpha, and openness, which shading is multiplied with."""
    texels = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    build = Scene().lit()
    look = {
        "kd": build.image("kd", texels, None, "srgb"),
        "alpha": build.image("kd", texels, 3, "srgb"),
        "roughness": build.image("orm", texels[::-1].copy(), 1),
        "metallic": build.image("orm", build.arrays["orm"], 2),
        "openness": build.image("orm", build.arrays["orm"], 0),
    }
    scene = build.add(sphere(), look).load()
    values = torch.from_numpy(texels).float() / 255
    maps = initial_maps(16, alpha=True)
    maps.texels[..., KD], maps.texels[..., ALPHA] = srgb_to_linear(values[..., :3]), values[..., 3:]
    maps.texels[..., ROUGHNESS], maps.texels[..., METALLIC] = values.flip(0)[..., 1:2], values.flip(0)[..., 2:3]
    assert_same(image_of(scene, channel="kd"), drawn(sphere(), maps, bsdf="kd"))
    ks = drawn(sphere(), maps, bsdf="ks")
    for channel, column in (("roughness", 1), ("metallic", 2)):
        assert_same(image_of(scene, channel=channel), ks[..., [column, column, column, 3]])
    preview = PreviewRenderer(sphere(), "cpu")
    preview.set_maps(maps, values.flip(0)[..., 0])
    preview.set_light(studio_light())
    assert_same(image_of(scene, layers=2), preview.frame(CAMERA, SIZE, layers=2)[0])
    opened = image_of(scene, channel="occlusion")
    assert_same(opened, preview.frame(CAMERA, SIZE, channel="occlusion")[0])
    preview.set_maps(maps)
    seen = opened[..., 3] > 0.2
    ratio = image_of(scene)[seen] / preview.frame(CAMERA, SIZE)[0][seen]
    torch.testing.assert_close(ratio[:, 0], opened[seen][:, 0] / opened[seen][:, 3], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("suffix", [".png", ".exr", ".jpg", "16"])
def test_files_of_images(suffix):
    """The bytes of a file give what its pixels give."""
    ramp = np.linspace(0.1, 0.9, 32, dtype=np.float32)
    colors = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.float32(0.3)), -1)
    stored = {".exr": colors, "16": np.rint(colors * 65535).astype(np.uint16)}.get(
        suffix, np.rint(colors * 255).astype(np.uint8)
    )
    data = encode_image(".png" if suffix == "16" else suffix, stored)
    build = Scene()
    ours = build.add(sphere(), {"kd": build.image("file", np.frombuffer(data, np.uint8))}).load()
    pixels = np.concatenate([colors, np.ones_like(colors[..., :1])], -1)
    build = Scene()
    theirs = build.add(sphere(), {"kd": build.image("pixels", pixels)}).load()
    tolerance = 0.02 if suffix == ".jpg" else 4e-3
    assert_same(image_of(ours, channel="kd"), image_of(theirs, channel="kd"), tolerance)


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (100, 30)])
def test_images_of_any_size(shape):
    """Not square, no power of two, beside one of another size: a smooth picture stays where it is."""
    y, x = (np.arange(size, dtype=np.float32) + 0.5 for size in shape)
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * y / shape[0])[:, None] * np.cos(2 * np.pi * x / shape[1])
    image = np.stack([wave, wave, wave, np.ones_like(wave)], -1).astype(np.float32)
    build = Scene()
    look = {"kd": build.image("wave", image), "roughness": build.image("other", np.full((8, 8, 4), 0.5, np.float32), 1)}
    ours = image_of(build.add(plane(1.2), look).load(), channel="kd")
    fine = (torch.arange(256) + 0.5) / 256 * 2 * math.pi
    maps = grey_maps(resolution=256)
    maps.texels[..., KD] = (0.5 + 0.4 * fine.sin()[:, None] * fine.cos())[..., None]
    assert_same(ours, drawn(plane(1.2), maps, bsdf="kd"), 0.03)


def test_a_float_channel_of_a_colour_is_its_luminance():
    build = Scene()
    image = np.full((4, 4, 4), 0.5, np.float32) * np.array([1, 0, 2, 1], np.float32)
    scene = build.add(sphere(), {"roughness": build.image("color", image)}).load()
    frame = image_of(scene, channel="roughness")
    assert float(frame[..., 0].max()) == pytest.approx(0.5 * 0.2126 + 1.0 * 0.0722, abs=1e-4)


@pytest.mark.parametrize("camera", [CAMERA, FLAT])
def test_depth_is_the_distance_along_the_axis(camera):
    frame = image_of(Scene().add(plane(5.0)).load(), camera, channel="depth", spp=2)
    seen = frame[..., 3] > 0
    assert torch.equal(frame[~seen][:, :3], torch.full_like(frame[~seen][:, :3], NO_DEPTH))
    fragments = render_mesh(
        plane(5.0), camera, grey_maps(), None, SIZE, bsdf="kd", buffers=("depth",), antialiased=False
    )["depth"][0, ..., 0]
    corner = torch.stack([torch.full_like(fragments, 0.0), fragments * 0, fragments, torch.ones_like(fragments)], -1)
    inverse = torch.linalg.inv(camera.projection.double())
    places = corner[seen].double() @ inverse.T
    expected = -places[:, 2] / places[:, 3]
    torch.testing.assert_close(frame[seen][:, 0].double(), expected, rtol=1e-3, atol=1e-3)


def test_the_light_behind():
    """Opaque, where nothing is as the light is in that direction, also without any part."""
    scene = Scene().lit()
    for loaded in (scene.load(), scene.add(sphere(radius=0.5)).load()):
        frame = loaded.frame(request(background="light"))
        assert frame.rect == (0, 0, *SIZE)
        assert bool((frame.image[..., 3] == 1).all())
        row, column = 3, 50
        x, y = (2 * column + 1) / SIZE[1] - 1, (2 * row + 1) / SIZE[0] - 1
        point = torch.linalg.inv(CAMERA.projection.double()) @ torch.tensor([x, y, 1.0, 1.0], dtype=torch.float64)
        direction = CAMERA.view[:3, :3].T @ (point[:3] / point[3]).float()
        expected = studio_light().specular(direction[None], torch.zeros(1))[0]
        torch.testing.assert_close(frame.image[row, column, :3], expected, rtol=2e-3, atol=2e-3)
    inside = image_of(scene.load())
    over = image_of(scene.load(), background="light")
    covered = inside[..., 3] == 1
    assert torch.equal(inside[covered], over[covered])


@pytest.mark.parametrize("options", [{"spp": 2}, {"background": "light"}, {"channel": "depth"}, {"layers": 2}])
def test_a_frame_in_bands_is_the_same_frame(monkeypatch, options):
    """Figure before: a frame of 1024 x 1024 with 16 samples took 6.3 GB on a CPU, now 1.6 GB."""
    scene = Scene().lit().add(sphere(radius=0.5)).load()
    whole = image_of(scene, **options)
    monkeypatch.setattr("backend.preview.scene._BAND_SAMPLES", {False: SIZE[1] * 4 * 5, True: SIZE[1] * 4 * 5})
    banded = image_of(scene, **options)
    assert banded.shape == whole.shape
    assert (banded - whole).abs().median() < 1e-5
    differing = ((banded - whole).abs() > 1e-3 + 1e-3 * whole.abs()).any(-1)
    assert differing.double().mean() < 0.002  # a sample that lies on an edge


@pytest.mark.parametrize("camera", [CAMERA, FLAT])
@pytest.mark.parametrize("matrix", [moved(0.7, 0.3), moved(-1.5), moved(0, 0, 4.0), moved(0, 0, 30), moved(9)])
def test_nothing_is_outside_of_the_rectangle(camera, matrix):
    """In the image, at its border, around the eye, behind it and beside the image."""
    frame = Scene().add(sphere(radius=0.4), matrix=matrix).load().frame(request(camera, "kd"))
    top, left, height, width = frame.rect
    outside = frame.image.clone()
    outside[top : top + height, left : left + width] = 0
    assert not bool(outside.any())
    if float(matrix[0, 3]) == 9:
        assert height * width == 0
    if float(matrix[0, 3]) == 0.7:
        assert height * width < SIZE[0] * SIZE[1] / 3


def test_only_what_is_new_is_worked_out(monkeypatch):
    from backend.preview import scene as preview_scene

    made = []
    rows = preview_scene.look_rows
    monkeypatch.setattr(preview_scene, "look_rows", lambda *a, **k: made.append(a[0]) or rows(*a, **k))
    build = Scene().lit()
    look = GREY | {"kd": build.image("kd", np.full((8, 8, 4), 128, np.uint8), None, "srgb")}
    build.add(sphere(radius=0.5), look, moved(-0.6)).add(sphere(radius=0.5), look, moved(0.6)).add(plane(2, -0.8))
    scene = build.load()
    assert len(made) == 2, "parts of one look share its maps"
    light, renderer = scene._light, scene._renderer
    build.description["parts"][2]["look"] = GREY | {"kd": [0.0, 0.5, 1.0]}
    scene.updated(build.described, build.arrays)
    assert (len(made), scene._renderer is renderer, scene._light is light) == (3, True, True)
    # Looks change places: none is made anew, and none is lost.
    looks = [part["look"] for part in build.description["parts"]]
    for part, other in zip(build.description["parts"], (looks[2], looks[2], looks[0]), strict=True):
        part["look"] = other
    scene.updated(build.described, build.arrays)
    assert len(made) == 3
    assert_same(image_of(scene), image_of(build.load()))
    # A part goes, then all do.
    del build.description["parts"][0]
    assert_same(image_of(scene.updated(build.described, build.arrays)), image_of(build.load()))
    build.description["parts"] = []
    assert not bool(image_of(scene.updated(build.described, build.arrays)).any())


def test_maps_of_a_job_take_the_place_of_the_look():
    build = Scene().lit().add(sphere(radius=0.6), matrix=moved(-0.7), job={"id": "j", "set": 1}).add(sphere(radius=0.6))
    scene = build.load()
    before = image_of(scene, channel="kd")
    scene.set_job_maps("j", 0, grey_maps((0, 0, 1)), None)
    scene.set_job_maps("other", 1, grey_maps((0, 0, 1)), None)
    assert torch.equal(image_of(scene, channel="kd"), before)
    for color, resolution in (((0.0, 1.0, 0.0), 4), ((0.0, 0.5, 0.5), 4), ((1.0, 0.5, 0.5), 16)):
        scene.set_job_maps("j", 1, grey_maps(color, resolution=resolution), torch.full((2, 2), 0.5))
        kd = image_of(scene, channel="kd")
        assert torch.equal(kd[:, 40:], before[:, 40:])
        torch.testing.assert_close(kd[kd[..., 3] > 0].amin(0)[1], torch.tensor(min(0.3, color[1])))
        assert set(image_of(scene, channel="occlusion")[..., 0].half().unique().tolist()) == {0.0, 0.5, 1.0}
    # They stay while the part is of the job.
    build.description["parts"][0]["matrix"] = moved(-0.7, 0.1).tolist()
    scene.updated(build.described, build.arrays)
    assert float(image_of(scene, channel="kd")[:, :20, 1].max()) == pytest.approx(0.5)
    build.description["parts"][0]["job"] = None
    build.description["parts"][0]["matrix"] = moved(-0.7).tolist()
    assert torch.equal(image_of(scene.updated(build.described, build.arrays), channel="kd"), before)


def test_lights_come_and_go():
    build = Scene().add(sphere())
    scene = build.load()
    dark = image_of(scene)
    assert not bool(dark[..., :3].any())
    assert bool(dark[..., 3].any())
    scene.set_light(studio_light())
    lit = image_of(scene)
    assert_same(lit, drawn(sphere(), grey_maps()))
    assert torch.equal(image_of(scene.updated(build.described, build.arrays)), lit), "one that was set stays"
    assert_same(image_of(scene.updated(build.lit().described, build.arrays)), lit)
    build.description["light"] = None
    assert not bool(image_of(scene.updated(build.described, build.arrays))[..., :3].any())


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda scene, part: scene.description.pop("parts"), "no list of parts"),
        (lambda scene, part: part.pop("mesh"), "no mesh"),
        (lambda scene, part: part["mesh"].update(triangles="lost"), "not there"),
        (lambda scene, part: part.update(matrix=[[1, 2], [3]]), "matrix"),
        (lambda scene, part: part.update(look={"kd": {"array": "lost"}}), "'lost', which is not there"),
        (lambda scene, part: part.update(look={"roughness": "rough"}), "roughness is 'rough'"),
        (
            lambda scene, part: part.update(look={"kd": scene.image("flat", np.zeros((4, 4), np.float32))}),
            "not \\[h, w",
        ),
        (lambda scene, part: part.update(look={"kd": scene.image("broken", np.zeros(99, np.uint8))}), "use PNG"),
        (
            lambda scene, part: part.update(look={"alpha": scene.image("a", np.zeros((4, 4, 4), np.uint8), 7)}),
            "channel 7",
        ),
        (lambda scene, part: part.update(job={"id": 3}), "job"),
        (lambda scene, part: scene.description.update(light="lost"), "light"),
        (lambda scene, part: scene.arrays.update(triangles0=np.full((2, 3), 10**6, np.int32)), "indices"),
    ],
)
def test_bad_descriptions_are_refused_and_change_nothing(change, cause):
    build = Scene().lit().add(sphere())
    scene = build.load()
    before = image_of(scene)
    change(build, build.description["parts"][0])
    with pytest.raises((PreviewError, ProtocolError), match=cause) as raised:
        scene.updated(build.described, build.arrays)
    assert raised.value.cure.endswith(".")
    assert torch.equal(image_of(scene), before)


def test_what_cannot_be_seen_is_left_out():
    build = Scene().add(sphere(), matrix=np.diag([0.0, 1, 1, 1])).add(sphere(radius=0.5))
    only = Scene().add(sphere(radius=0.5)).load()
    assert torch.equal(image_of(build.load(), channel="kd"), image_of(only, channel="kd"))
