# SPDX-License-Identifier: GPL-3.0-or-later
"""Height, curvature and thickness of each texel, as maps from 0 to 1 with a scale in units of the scene.

- Height: how far the material's displacement moves the surface out: 0.5 + height / scale. A Displacement node with the
  midlevel 0.5 and this scale gives it back.
- Curvature: mean curvature by the normals that shade, 1/r on a sphere of radius r, negative in hollows: 0.5 + curvature / scale.
- Thickness: how far it is straight in until the object ends: thickness / scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from ..closures.reading import Reading
from ..common.geometry_output import CURVATURE, GEOMETRY, HEIGHT, SCALES, THICKNESS
from ..common.reached_nodes import MATERIAL_OUTPUT, known_input
from ..export.mesh_reading import evaluated_mesh, read, read_corner_vertices, read_positions
from ..protocol.map_shape import MapSize, limited
from ..references.exported_mesh import in_render_depsgraph
from ..references.stage import Stage
from .cycles_bake import Texels
from .fields import Baked, Field
from .margins import Margin
from .openness import LARGEST_BAKE, enlarged, repeated
from .pass_baker import PassBaker, Tiles
from .stand_ins import bake_into, linked, positions, separate_groups, unlink
from .uv_names import name_uv_map

STEEP = 99.5  # percent of the texels: what is steeper is cut, since a single needle would flatten all else
NOTHING = 1e-6  # of the size of the objects
FLAT = 1e-3  # curvature times that size: normals are not more exact than this on fine meshes
OFF_SURFACE = 1e-4  # of the size of the objects: where a ray into them begins
SAME_NORMAL = 1e4  # steps of a component within which normals of neighboring faces are one


def bake_geometry(
    baker: PassBaker, set_up: Stage, wanted: Iterable[str], size: MapSize, owners: list[Baked], extent: float
) -> None:
    """Give what was baked of each of the baker's owners the maps that are wanted, some of GEOMETRY.

    size: height and width of the maps; extent: the size of the objects. What is 0 everywhere gets no map.
    """
    names = [name for name in GEOMETRY if name in wanted]
    found: dict[str, list[Tiles]] = {}
    if HEIGHT in names:
        found[HEIGHT] = baker.bake_made(height_shown, size)
    if CURVATURE in names or THICKNESS in names:
        places = baker.bake_materials(positions, limited(size, LARGEST_BAKE), samples=1)
        solids = read_solids(set_up)
        for name in (CURVATURE, THICKNESS):
            if name in names:
                found[name] = [
                    {tile: Texels(np.zeros_like(texels.values), texels.covered) for tile, texels in tiles.items()}
                    for tiles in places
                ]
        for number, tiles in enumerate(places):
            for tile, texels in tiles.items():
                points = texels.values[texels.covered]
                if not len(points):
                    continue
                where = located(solids, points)
                if CURVATURE in names:
                    found[CURVATURE][number][tile].values[texels.covered, 0] = curvature_of(solids, where)
                if THICKNESS in names:
                    found[THICKNESS][number][tile].values[texels.covered, 0] = thickness_of(
                        solids, where, points, extent
                    )
    for name, parts in found.items():
        for owner, tiles in zip(owners, parts, strict=True):
            scaled_map = as_map(name, tiles, size, extent)
            if scaled_map is not None:
                owner.geometry[name], owner.scales[SCALES[name]] = scaled_map
                for tile, texels in tiles.items():  # where nothing else was baked
                    owner.covered.setdefault(tile, repeated(texels.covered, size))


def as_map(name: str, tiles: Mapping[int, Texels], size: MapSize, extent: float) -> tuple[Field, float] | None:
    """The values of an owner's tiles from 0 to 1, and their scale; None where all are 0."""
    values = np.concatenate([texels.values[texels.covered][:, 0] for texels in tiles.values()])
    sizes = np.abs(values)
    least = FLAT / extent if name == CURVATURE else NOTHING * extent
    if not sizes.size or sizes.max() <= least:
        return None
    largest = float(np.percentile(sizes, STEEP)) if name == CURVATURE else float(sizes.max())
    largest = largest if largest > least else float(sizes.max())
    scale, zero = (largest, 0.0) if name == THICKNESS else (2.0 * largest, 0.5)
    fields = {}
    for tile, texels in tiles.items():
        filled = Margin().fill(texels.values[..., :1], texels.covered)[..., 0]
        fields[tile] = np.clip(enlarged(filled, size) / np.float32(scale) + np.float32(zero), 0.0, 1.0)
    return fields, scale


# Height -------------------------------------------------------------------------------------------------------------


def height_shown(
    material: bpy.types.Material, _reading: Reading, image: bpy.types.Image, _uv_map: str, rendered: str | None
) -> bpy.types.Material:
    """A copy of a material that shows how far its displacement moves each point along the normal."""
    copy = material.copy()
    copy.name = "PBRfit bake"
    tree = copy.node_tree
    separate_groups(tree)
    if rendered is not None:
        name_uv_map(tree, rendered)
    copy.cycles.emission_sampling = "NONE"  # else Cycles prepares every triangle as a lamp
    outputs = [node for node in tree.nodes if node.bl_idname == MATERIAL_OUTPUT]
    output = next((node for node in outputs if node.is_active_output), outputs[0])
    moved = linked(tree, output, "Displacement")
    light = tree.nodes.new("ShaderNodeEmission")
    known_input(light, "Color").default_value = (0.0, 0.0, 0.0, 1.0)
    if moved is not None:
        unlink(tree, output.inputs["Displacement"])  # else bumps turn the normal
        along = tree.nodes.new("ShaderNodeVectorMath")
        along.operation = "DOT_PRODUCT"
        tree.links.new(moved, along.inputs[0])
        tree.links.new(tree.nodes.new("ShaderNodeNewGeometry").outputs["Normal"], along.inputs[1])
        tree.links.new(along.outputs["Value"], known_input(light, "Color"))
    unlink(tree, output.inputs["Surface"])
    tree.links.new(light.outputs[0], output.inputs["Surface"])
    bake_into(tree, image)
    return copy


# Curvature and thickness --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solid:
    """The triangles of an object in the world, as renders have them. corners: float64 [T, 3, 3], normals: of the corners,
    likewise; curvature: of the corners, float64 [T, 3]; tree: of the triangles."""

    corners: NDArray[np.float64]
    normals: NDArray[np.float64]
    curvature: NDArray[np.float64]
    tree: BVHTree


def read_solids(set_up: Stage) -> list[Solid]:
    """The objects of a stage."""
    found: list[Solid] = []

    def look(depsgraph: bpy.types.Depsgraph) -> None:
        for target in set_up.targets:
            with evaluated_mesh(target, depsgraph) as mesh:
                matrix = np.array(target.evaluated_get(depsgraph).matrix_world, dtype=np.float64)
                found.append(read_solid(mesh, matrix))

    in_render_depsgraph(set_up, look)
    return [solid for solid in found if len(solid.corners)]


def read_solid(mesh: bpy.types.Mesh, matrix: NDArray[np.float64]) -> Solid:
    """The triangles of an evaluated mesh. matrix: to the world, [4, 4]."""
    vertices = read_positions(mesh).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    triangles = read(mesh.loop_triangles, "loops", 3, np.int32)
    of_corners = read_corner_vertices(mesh)
    normals = read(mesh.corner_normals, "vector", 3, np.float32).astype(np.float64) @ np.linalg.inv(matrix[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    used = of_corners[triangles]
    corners, corner_normals = vertices[used], normals[triangles]
    curvature = corner_curvature(corners, corner_normals, used)
    tree = BVHTree.FromPolygons(vertices.tolist(), used.tolist(), all_triangles=True)
    return Solid(corners, corner_normals, curvature, tree)


def corner_curvature(
    corners: NDArray[np.float64], normals: NDArray[np.float64], vertices: NDArray[np.int32]
) -> NDArray[np.float64]:
    """The mean curvature at the corners of triangles, [T, 3], by how normals change along the edges of each triangle.

    Within a triangle it is half the trace of the shape operator that fits its three edges best; a corner has the mean of
    the triangles around it that share its normal, by their areas. vertices: of the corners, [T, 3].
    """
    edges = np.roll(corners, -1, axis=1) - corners
    turns = np.roll(normals, -1, axis=1) - normals
    across = np.cross(edges[:, 0], edges[:, 1])
    areas = np.linalg.norm(across, axis=1)
    along = edges[:, 0] / np.maximum(np.linalg.norm(edges[:, 0], axis=1, keepdims=True), 1e-30)
    other = np.cross(across / np.maximum(areas, 1e-30)[:, None], along)
    flat = [np.einsum("tec,tc->te", values, axis) for values in (edges, turns) for axis in (along, other)]
    (u, v), (du, dv) = flat[:2], flat[2:]
    # Unknown a, b, c of [[a, b], [b, c]]: a u + b v = du and b u + c v = dv of each edge.
    zero = np.zeros_like(u)
    rows = np.concatenate([np.stack([u, v, zero], axis=-1), np.stack([zero, u, v], axis=-1)], axis=1)
    wanted = np.concatenate([du, dv], axis=1)
    left = np.einsum("tri,trj->tij", rows, rows)
    right = np.einsum("tri,tr->ti", rows, wanted)
    sizes = np.trace(left, axis1=1, axis2=2)[:, None, None]
    solved = np.linalg.solve(left + (1e-12 * sizes + 1e-30) * np.eye(3), right[..., None])[..., 0]
    bent = np.where(areas > 0.0, 0.5 * (solved[:, 0] + solved[:, 2]), 0.0)
    keys = np.concatenate(
        [vertices.reshape(-1, 1), np.rint(normals.reshape(-1, 3) * SAME_NORMAL).astype(np.int64)], axis=1
    )
    _, place = np.unique(keys, axis=0, return_inverse=True)
    place = place.reshape(-1)
    weights = np.repeat(areas, 3)
    total = np.bincount(place, weights)
    mean = np.bincount(place, weights * np.repeat(bent, 3)) / np.maximum(total, 1e-30)
    found: NDArray[np.float64] = mean[place].reshape(-1, 3)
    return found


@dataclass(frozen=True)
class Located:
    """Points of the surface, [N]. solids: the number of the solid of each; triangles: of its triangle; shares: of the
    triangle's corners, float64 [N, 3]."""

    solids: NDArray[np.intp]
    triangles: NDArray[np.intp]
    shares: NDArray[np.float64]


def located(solids: list[Solid], points: NDArray[np.float32]) -> Located:
    """Where points [N, 3] are: on the nearest triangle of any solid."""
    best = np.full(len(points), np.inf)
    numbers, triangles = np.zeros(len(points), np.intp), np.zeros(len(points), np.intp)
    listed = points.tolist()
    for number, solid in enumerate(solids):
        hits = [solid.tree.find_nearest(point) for point in listed]
        distances = np.array([np.inf if hit[3] is None else hit[3] for hit in hits])
        indices = np.array([hit[2] or 0 for hit in hits], np.intp)
        nearer = distances < best
        best[nearer], numbers[nearer], triangles[nearer] = distances[nearer], number, indices[nearer]
    corners = chosen([solid.corners for solid in solids], numbers, triangles)
    a, b, p = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    aa, ab, bb, pa, pb = (np.einsum("nc,nc->n", *pair) for pair in ((a, a), (a, b), (b, b), (p, a), (p, b)))
    below = np.maximum(aa * bb - ab * ab, 1e-30)
    v, w = (bb * pa - ab * pb) / below, (aa * pb - ab * pa) / below
    return Located(numbers, triangles, np.stack([1.0 - v - w, v, w], axis=-1))


def chosen(arrays: list[NDArray[np.float64]], numbers: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Rows of several arrays [T, ...]: of each point that of its array."""
    found = np.empty((len(rows), *arrays[0].shape[1:]))
    for number, array in enumerate(arrays):
        own = numbers == number
        found[own] = array[rows[own]]
    return found


def curvature_of(solids: list[Solid], places: Located) -> NDArray[np.float64]:
    """The mean curvature at points, [N]."""
    corners = chosen([solid.curvature for solid in solids], places.solids, places.triangles)
    found: NDArray[np.float64] = np.einsum("nc,nc->n", places.shares, corners)
    return found


def thickness_of(
    solids: list[Solid], places: Located, points: NDArray[np.float32], extent: float
) -> NDArray[np.float64]:
    """How far it is from points [N, 3] straight in until their object ends; 0 where it never does."""
    normals = chosen([solid.normals for solid in solids], places.solids, places.triangles)
    inward = -np.einsum("nc,ncd->nd", places.shares, normals)
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-12)
    before = OFF_SURFACE * extent
    starts = points + inward * before
    trees = [solids[number].tree for number in places.solids]
    rays = zip(trees, starts.tolist(), inward.tolist(), strict=True)
    hits = [tree.ray_cast(start, direction)[3] for tree, start, direction in rays]
    return np.array([0.0 if distance is None else distance + before for distance in hits])
