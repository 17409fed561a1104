"""Conventions proven against Cycles: axes, light, camera, uv, and tangent space meet only if both ends keep them.

Each scene is built in Blender, handed over by the installed add-on's exporter, and rendered by both; pixels away from
silhouettes are compared. Beside each threshold stands what was measured, and each test shows what a wrong convention
would give.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.blender.scenes import shipped_hdri

bpy = pytest.importorskip("bpy")

from support.blender.cycles_comparison import (  # noqa: E402
    Comparison,
    add_ball,
    add_material,
    add_mirrored_ball,
    compare,
    direction_world,
    image_world,
    light_of,
    material_maps,
)

from backend.fit.map_files import encode_maps  # noqa: E402
from render.core.color import srgb_to_linear  # noqa: E402
from render.core.image_io import write_image  # noqa: E402
from render.material.material import METALLIC, NORMAL, ROUGHNESS, MaterialMaps  # noqa: E402

LEAST_PSNR = 35.0
TEXEL_DEGREES = 360.0 / 1024
"""Of the environment images; a texel of our light's cube is 0.45 degrees wide at the middle of a face."""

ABOUT_Z = (0.0, 0.0, math.radians(-33.3))
ABOUT_ALL_AXES = (0.3, -0.7, 2.0)
PLACES = {
    "turned": ((0.3, -2.0, 1.0), (0.4, 0.9, -0.3), (1.2, 1.2, 1.2)),
    "mirrored": ((0.3, -2.0, 1.0), (-1.4, 0.2, 2.3), (1.2, -1.2, 1.2)),
    "mirrored and stretched": ((0.3, -2.0, 1.0), (0.4, 0.9, -0.3), (-1.3, 0.8, 1.1)),
}
"""Location, rotation and scale of an object."""


def degrees_between(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Angles between the directions that two images [..., 4] of the direction world show, in degrees."""
    a, b = (torch.nn.functional.normalize(2 * shown[..., :3] - 1, dim=-1) for shown in (image, other))
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1)))


@pytest.mark.parametrize("rotation", [None, ABOUT_Z, ABOUT_ALL_AXES])
def test_a_chrome_ball_shows_every_direction_where_it_is(addon, tmp_path, rotation) -> None:
    """The colour of the light is its direction, so each pixel of the ball tells where it looks."""
    ball = add_ball()
    add_material(ball, roughness=0.0, metallic=1.0)
    direction_world(tmp_path, rotation)
    (scene,) = compare(addon, tmp_path, [ball], samples=256)
    maps = material_maps(roughness=0.0, metallic=1.0)
    image = scene.ours(maps)
    error = degrees_between(image, scene.cycles)[scene.inside]
    # Measured: 0.025 at most, 0.011 for 95 of 100. A quarter of a texel tells the centres of texels from their corners.
    assert error.max() < TEXEL_DEGREES / 4
    assert scene.difference(image).abs().max() < 0.01  # measured: 0.003
    shifted = scene.ours(maps, light=light_of(scene.environment.roll(1, 1)))
    assert degrees_between(shifted, scene.cycles)[scene.inside].max() > TEXEL_DEGREES / 2


@pytest.mark.parametrize("rotation", [None, ABOUT_ALL_AXES])
def test_a_chrome_ball_shows_a_photographed_world_in_its_place(addon, tmp_path, rotation) -> None:
    """Seams and poles of the image included; moved by one texel any way, it agrees less."""
    ball = add_ball()
    add_material(ball, roughness=0.0, metallic=1.0)
    image_world(shipped_hdri(), rotation)
    (scene,) = compare(addon, tmp_path, [ball])
    maps = material_maps(roughness=0.0, metallic=1.0)
    found = scene.psnr(scene.ours(maps))
    moved = [
        scene.psnr(scene.ours(maps, light=light_of(scene.environment.roll(step, axis))))
        for axis in (0, 1)
        for step in (1, -1)
    ]
    assert found > LEAST_PSNR  # measured: 37 and 39, moved 29 to 31
    assert max(moved) < found - 5.0


@pytest.mark.parametrize(("rotation", "roughness"), [(None, (0.5, 1.0)), (ABOUT_ALL_AXES, (0.75,))])
def test_rough_balls_are_lit_from_the_right_side(addon, tmp_path, rotation, roughness) -> None:
    grey = (0.5, 0.5, 0.5)
    balls = [add_ball() for _ in roughness]
    for ball, value in zip(balls, roughness, strict=True):
        add_material(ball, value, base_color=grey)
    image_world(shipped_hdri(), rotation)
    scenes = compare(addon, tmp_path, balls)
    mirrored, upside_down = (light_of(scenes[0].environment.flip(axis)) for axis in (1, 0))
    for value, scene in zip(roughness, scenes, strict=True):
        maps = material_maps(value, base_color=grey)
        # At 64 samples Cycles' noise alone is 34 dB for a pixel; means of 16 pixels leave what is systematic. At 400
        # samples single pixels agree to 37 dB, their means hardly better than at 64.
        found = scene.psnr(scene.ours(maps), block=4)
        wrong = [scene.psnr(scene.ours(maps, light=light), block=4) for light in (mirrored, upside_down)]
        assert found > LEAST_PSNR, value  # measured: 38 to 41
        assert max(wrong) < 25.0, value


def picture(resolution: int = 256) -> np.ndarray:
    """A coloured F and two marks on a pale ground, sRGB uint8 [R, R, 3]: no turn or mirroring leaves it the same."""
    pixels = np.full((resolution, resolution, 3), (200, 190, 160), np.uint8)
    rectangles = {
        (0.35, 0.25, 0.45, 0.78): (30, 40, 120),
        (0.35, 0.25, 0.70, 0.35): (200, 30, 30),
        (0.35, 0.47, 0.60, 0.56): (20, 140, 40),
        (0.15, 0.55, 0.25, 0.65): (240, 220, 20),
        (0.62, 0.66, 0.80, 0.72): (10, 10, 10),
    }
    for rectangle, colour in rectangles.items():
        left, top, right, bottom = (round(edge * resolution) for edge in rectangle)
        pixels[top:bottom, left:right] = colour
    return pixels


def base_color() -> torch.Tensor:
    return srgb_to_linear(torch.from_numpy(picture()).float() / 255)


def test_textures_lie_the_right_way_round_on_mirrored_uvs(addon, tmp_path) -> None:
    path = tmp_path / "picture.png"
    write_image(path, picture())
    balls = [add_mirrored_ball(*place) for place in PLACES.values()]
    for ball in balls:
        add_material(ball, roughness=0.8, base_color=str(path))
    direction_world(tmp_path)
    colour = base_color()
    for name, scene in zip(PLACES, compare(addon, tmp_path, balls, views=2, samples=32), strict=True):
        found = scene.psnr(scene.ours(material_maps(0.8, base_color=colour)))
        mirrored, upside_down = (
            scene.psnr(scene.ours(material_maps(0.8, base_color=colour.flip(axis)))) for axis in (1, 0)
        )
        assert found > LEAST_PSNR, name  # measured: 40.5 to 41; mirrored or upside down 16 to 18
        assert max(mirrored, upside_down) < 20.0, name


def bumps(resolution: int = 256) -> np.ndarray:
    """A normal map of four round bumps and a hollow of all sizes, up to 25 degrees steep: uint16 [R, R, 3], OpenGL."""
    centres = (np.arange(resolution) + 0.5) / resolution
    v, u = np.meshgrid(1 - centres, centres, indexing="ij")
    height = np.zeros((resolution, resolution))
    for at_u, at_v, radius, sign in (
        (0.40, 0.62, 0.16, 1),
        (0.66, 0.55, 0.09, 1),
        (0.55, 0.30, 0.12, -1),
        (0.28, 0.36, 0.07, 1),
        (0.70, 0.74, 0.06, 1),
    ):
        distance = np.hypot(u - at_u, v - at_v) / radius
        height += sign * 0.3 * radius * np.where(distance < 1, (1 - distance**2) ** 2, 0)
    along_rows, along_columns = np.gradient(height, 1 / resolution)
    normal = np.stack([-along_columns, along_rows, np.ones_like(height)], axis=-1)  # v points up, rows go down
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.round((normal * 0.5 + 0.5) * 65535).astype(np.uint16)


def decoded_bumps() -> torch.Tensor:
    return torch.from_numpy(bumps().astype(np.float32) / 65535 * 2 - 1)


def wrong_tangent_spaces(scene: Comparison, maps: MaterialMaps) -> dict[str, float]:
    """PSNR with each convention of the tangent space broken in turn; to flip the sign is to flip green."""
    green = maps.texels.clone()
    green[..., NORMAL.start + 1] *= -1
    tangent = scene.mesh.tangent
    unsigned = torch.cat([tangent[:, :3], torch.ones_like(tangent[:, 3:])], dim=1)
    return {
        "green or sign flipped": scene.psnr(scene.ours(MaterialMaps(green))),
        "sign dropped": scene.psnr(scene.ours(maps, replace(scene.mesh, tangent=unsigned))),
    }


@pytest.mark.parametrize("from_behind", [False, True], ids=["from the front", "from behind"])
def test_normal_maps_rise_where_they_should_on_mirrored_uvs(addon, tmp_path, from_behind) -> None:
    """On chrome, where a normal's error is doubled and nothing hides it (a matt ball: 39 dB, and 31 where wrong).

    From behind: the balls' faces are turned around, and their backs are seen from outside.
    """
    path = tmp_path / "bumps.png"
    write_image(path, bumps())
    grey = (0.8, 0.8, 0.8)
    balls = [add_mirrored_ball(*place) for place in PLACES.values()]
    for ball in balls:
        add_material(ball, roughness=0.0, metallic=1.0, base_color=grey, normal_map=str(path))
        if from_behind:
            ball.data.flip_normals()
    direction_world(tmp_path)
    maps = material_maps(0.0, 1.0, grey, decoded_bumps())
    # Measured: 50 and 46 dB, broken conventions 21. Stretched 36: under uneven scale Cycles' bitangent is not orthogonal
    # to the normal, nor of the tangent's length, which a tangent with a sign cannot express.
    for name, scene in zip(PLACES, compare(addon, tmp_path, balls, views=2), strict=True):
        found = scene.psnr(scene.ours(maps))
        wrong = wrong_tangent_spaces(scene, maps)
        if from_behind:
            # The backs that these views show have hardly a sign to drop.
            del wrong["sign dropped"]
        assert found > LEAST_PSNR, name
        assert max(wrong.values()) < 23.0, (name, wrong)


def test_map_files_mean_in_blender_what_they_mean_to_us(addon, tmp_path) -> None:
    """All maps at once, by way of the result files and the node tree that the add-on builds of them."""
    resolution = len(picture())
    maps = material_maps(0.7, base_color=base_color(), normal=decoded_bumps())
    maps.texels[: resolution // 2, :, ROUGHNESS] = 0.9
    maps.texels[:, : resolution * 2 // 5, METALLIC] = 0.8
    ball = add_mirrored_ball(*PLACES["mirrored"])
    add_material(ball, roughness=0.5)
    files = encode_maps(maps, openness=torch.full((resolution, resolution), 0.3))
    for item in bpy.context.view_layer.objects:
        item.select_set(item == ball)
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    for _ in addon.assign.materials.assignment_steps(plan, files, {}, addon.assign.materials.AssignOptions()):
        pass
    direction_world(tmp_path)
    (scene,) = compare(addon, tmp_path, [ball], views=2)
    swapped = maps.texels.clone()
    swapped[..., ROUGHNESS], swapped[..., METALLIC] = maps.texels[..., METALLIC], maps.texels[..., ROUGHNESS]
    assert scene.psnr(scene.ours(maps)) > LEAST_PSNR  # measured: 39; a broken tangent space 32
    assert scene.psnr(scene.ours(MaterialMaps(swapped))) < 25.0
    assert max(wrong_tangent_spaces(scene, maps).values()) < 34.0
