"""Our tangents against Blender's own MikkTSpace (`Mesh.calc_tangents`), corner by corner.

A corner passes with a direction within 0.1 degree; 99.9% must. The signs must be equal at all corners of triangles that
have an area in space and in the uv.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from render.files.obj import load_obj
from render.geometry.mesh import Mesh
from render.geometry.tangents import compute_tangents

MOST_DEGREES = 0.1
LEAST_SHARE = 0.999


def added(operator: str, levels: int = 0, smooth: bool = True, **options):
    """An object that an operator adds, subdivided and triangulated, as its mesh."""
    import bpy

    getattr(bpy.ops.mesh, operator)(**options)
    body = bpy.context.object
    if levels:
        body.modifiers.new("smooth", "SUBSURF").levels = levels
    body.modifiers.new("triangles", "TRIANGULATE")
    evaluated = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = bpy.data.meshes.new_from_object(evaluated)
    mesh.shade_smooth() if smooth else mesh.shade_flat()
    return mesh


def built(positions: np.ndarray, triangles: np.ndarray, corner_uv: np.ndarray, smooth: bool = True):
    """A mesh of arrays: positions [V, 3], triangles [T, 3] and uvs [T, 3, 2] with v up."""
    import bpy

    mesh = bpy.data.meshes.new("built")
    mesh.from_pydata(positions.tolist(), [], triangles.tolist())
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", corner_uv.astype(np.float32).ravel())
    mesh.shade_smooth() if smooth else mesh.shade_flat()
    return mesh


def grid(cells: int, height: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Positions [V, 3] of a square from -1 to 1 with a height at each place, and triangles [T, 3]."""
    x, y = np.meshgrid(np.linspace(-1, 1, cells + 1), np.linspace(-1, 1, cells + 1))
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return np.stack([x, y, height(x, y)], -1).reshape(-1, 3), triangles


def spot(data):
    mesh = load_obj(data / "spot" / "spot.obj")
    uv = mesh.uv[mesh.triangles].numpy() * [1, -1] + [0, 1]
    positions, index = np.unique(mesh.position.numpy(), axis=0, return_inverse=True)
    return built(positions, index.reshape(-1)[mesh.triangles.numpy()], uv)


def waves(cells: int = 24, fold: bool = False, crush: float = 0.0, flip: float = 0.0):
    """A wavy square whose mapping can be mirrored about a fold, crushed or flipped for a share of its triangles."""
    positions, triangles = grid(cells, lambda x, y: 0.2 * np.sin(4 * x) * np.cos(3 * y))
    uv = positions[triangles][..., :2] * [0.5, 0.3] + positions[triangles][..., 1::-1] * [0.1, 0.05]
    if fold:
        uv = np.stack([np.abs(positions[triangles][..., 0]), positions[triangles][..., 1]], -1)
    random = np.random.default_rng(3)
    crushed, flipped = random.random((2, len(triangles), 1, 1))
    uv = np.where(crushed < crush, uv[:, :1], uv)
    uv = np.where(flipped < flip, uv * [-1, 1], uv)
    return built(positions, triangles, uv)


def book():
    """Five leaves on one edge: more than two triangles share it."""
    angle = np.linspace(0, 4, 5)
    outer = np.stack([np.cos(angle), np.sin(angle), np.full(5, 0.5)], -1)
    positions = np.concatenate([[[0, 0, 0], [0, 0, 1]], outer])
    triangles = np.array([[0, 1, 2 + i] if i % 2 else [1, 0, 2 + i] for i in range(5)])
    uv = np.array([[[0, 0], [0, 1], [1, 0.5]] if i % 2 else [[0, 1], [0, 0], [1, 0.5]] for i in range(5)])
    return built(positions, triangles, uv)


def with_points_of_no_extent():
    """A wavy square with triangles between whose corners two are the same."""
    positions, triangles = grid(6, lambda x, y: 0.3 * x * y)
    thin = np.stack([triangles[:, 0], triangles[:, 1], triangles[:, 1]], -1)[::7]
    positions = np.concatenate([positions, positions])
    thin[:, 2] += len(positions) // 2
    triangles = np.concatenate([triangles, thin])
    return built(positions, triangles, positions[triangles][..., :2] * 0.5)


SHAPES = {
    "suzanne": lambda data: added("primitive_monkey_add", levels=2),
    "suzanne, flat": lambda data: added("primitive_monkey_add", smooth=False),
    "cube with hard edges": lambda data: added("primitive_cube_add", smooth=False),
    "smooth cube": lambda data: added("primitive_cube_add"),
    "sphere with seam and poles": lambda data: added("primitive_uv_sphere_add"),
    "torus": lambda data: added("primitive_torus_add", generate_uvs=True),
    "ico sphere": lambda data: added("primitive_ico_sphere_add", subdivisions=3),
    "spot": spot,
    "waves": lambda data: waves(),
    "mirrored about a fold": lambda data: waves(fold=True),
    "mirrored here and there": lambda data: waves(flip=0.3),
    "without area in the uv here and there": lambda data: waves(crush=0.2),
    "both": lambda data: waves(crush=0.2, flip=0.2),
    "book of leaves": lambda data: book(),
    "points of no extent": lambda data: with_points_of_no_extent(),
}


def corners(mesh) -> tuple[Mesh, np.ndarray, np.ndarray]:
    """Blender's mesh as ours, one vertex for each corner, and Blender's tangents [L, 3] and signs [L]."""
    mesh.calc_tangents()
    count = len(mesh.loops)
    assert count == 3 * len(mesh.polygons)

    def read(items, name: str, columns: int) -> np.ndarray:
        values = np.empty(count * columns, np.float32)
        items.foreach_get(name, values)
        return values.reshape(count, columns)

    index = np.empty(count, np.int32)
    mesh.loops.foreach_get("vertex_index", index)
    positions = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", positions)
    uv = read(mesh.uv_layers.active.data, "uv", 2)
    ours = Mesh(
        position=torch.from_numpy(positions.reshape(-1, 3)[index]),
        normal=torch.from_numpy(read(mesh.loops, "normal", 3)),
        tangent=torch.zeros(count, 4),
        # -v, not 1 - v: rounding that makes uvs equal which differ in their last bits would join groups.
        uv=torch.from_numpy(uv * np.float32([1, -1])),
        triangles=torch.arange(count).reshape(-1, 3),
        material=torch.zeros(count // 3, dtype=torch.int64),
    )
    return ours, read(mesh.loops, "tangent", 3), read(mesh.loops, "bitangent_sign", 1)[:, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_tangents_are_blenders(shape, data):
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh, tangent, sign = corners(SHAPES[shape](data))
    ours = compute_tangents(mesh).tangent.double().numpy()
    assert len(ours) == len(tangent)
    space = mesh.position[mesh.triangles].double()
    uv = mesh.uv[mesh.triangles].double()
    extent = torch.linalg.cross(space[:, 1] - space[:, 0], space[:, 2] - space[:, 0]).norm(dim=-1)
    area = torch.linalg.det(torch.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], 1)).abs()
    regular = ((extent > 1e-10) & (area > 1e-10)).repeat_interleave(3).numpy()
    cosine = (ours[:, :3] * tangent).sum(-1) / np.linalg.norm(tangent.astype(np.float64), axis=-1)
    sine = np.linalg.norm(np.cross(ours[:, :3], tangent), axis=-1)
    degrees = np.degrees(np.arctan2(sine, cosine))[regular]
    share = float((degrees < MOST_DEGREES).mean())
    assert share >= LEAST_SHARE, f"{share:.2%} within {MOST_DEGREES} degrees, the worst {degrees.max():.2f} off"
    assert np.array_equal(ours[regular, 3], sign[regular])
