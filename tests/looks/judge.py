"""Compare the baked materials of looks with the truth, at thousands of points. Nothing of PBRfit is imported.

    python tests/looks/judge.py request.json

The request is JSON: `looks`, a list of {`look`, `object`, `blend`}: the name of a look, and the file with its object and
the new materials (with `recipe` it is a random one, see random_trees.py); and `output`, the file for the differences by the
name of the look (see `compare.Difference`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, this folder alone is on the path

from looks import compare, random_trees
from looks.catalogue import LOOKS, build_looks
from looks.seen_values import FACING, HIT, SLOT, UV, WHERE, Seen, new_values, true_values
from scenes.parts import nodes_of


def judge(looks: list[dict[str, Any]]) -> dict[str, list[compare.Difference]]:
    """The differences of each look of a request. The open file is lost."""
    truths: dict[str, Seen] = {}
    for item in looks:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        look = random_trees.look_of(item["recipe"]) if "recipe" in item else LOOKS[item["look"]]
        (thing,) = build_looks([item["look"]], {item["look"]: look})
        truths[item["look"]] = true_values(thing, look.surfaces)
    found: dict[str, list[compare.Difference]] = {}
    for blend in dict.fromkeys(item["blend"] for item in looks):
        bpy.ops.wm.open_mainfile(filepath=blend, load_ui=False)
        for item in looks:
            if item["blend"] == blend:
                found[item["look"]] = judge_object(bpy.data.objects[item["object"]], truths[item["look"]])
    return found


def judge_object(thing: bpy.types.Object, truth: Seen) -> list[compare.Difference]:
    """Compare the materials of an object of the open file with the truth. The materials change."""
    sizes = [map_size(slot.material) for slot in thing.material_slots]
    triangles, slots = uv_triangles(thing)
    new = new_values(thing)
    uv, hit = truth.values[UV][..., :2], truth.values[HIT][..., 0]
    if np.abs(new.values[UV][..., :2] - uv).max() > 1e-3:
        raise ValueError(f"{thing.name}: the file has another mesh, or its UV map has changed")
    inside = compare.shown(hit, truth.values[FACING][..., 0])
    found: list[compare.Difference] = []
    for slot, size in enumerate(sizes):
        seen = (hit > 0.5) & (np.abs(truth.values[SLOT][..., 0] - slot) < 0.5)
        found += judge_slot(slot, truth, new, seen, inside[seen], triangles[slots == slot], size)
    return found


def judge_slot(
    slot: int,
    truth: Seen,
    new: Seen,
    seen: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    triangles: NDArray[np.float64],
    size: int,
) -> Iterator[compare.Difference]:
    """Compare all inputs of a slot. seen: its pixels [views, H, W]; inside: which of them count [N]; triangles: in the UV
    map; size: of the maps, 1 without any."""
    uv = truth.values[UV][..., :2]
    borders, pairs = np.zeros(len(inside), bool), None
    if size > 1:
        borders = compare.leaves_island(uv[seen], compare.covered_texels(triangles, size))
        pairs = compare.neighbors(seen, uv, size)
    for name in sorted(truth.names(slot) & new.names(slot)):
        right, known, away = truth.of(slot, name)[seen], inside, ~borders
        if pairs is not None and name in truth.computed[slot]:
            away &= ~compare.jumps(name, right, pairs)
        if name + WHERE in truth.computed[slot]:
            where = truth.of(slot, name + WHERE)[seen]
            known = inside & (where[:, 0] > 0.999)
            if pairs is not None:
                away &= ~compare.jumps(WHERE, where, pairs)
        linked = name in new.mapped[slot]
        yield compare.difference(slot, name, right, new.of(slot, name)[seen], away, known, linked)


def map_size(material: bpy.types.Material) -> int:
    """The width of the largest map of a material; 1 if it has none."""
    images = [node.image for node in nodes_of(material).nodes if node.type == "TEX_IMAGE" and node.image is not None]
    return max((image.size[0] for image in images), default=1)


def uv_triangles(thing: bpy.types.Object) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The triangles of the evaluated object in its UV map, [T, 3, 2], and their slots [T]."""
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    mesh.calc_loop_triangles()
    uv = np.empty((len(mesh.loops), 2), np.float32)
    layer = next(item for item in mesh.uv_layers if item.active_render)
    layer.uv.foreach_get("vector", uv.ravel())
    loops = np.array([triangle.loops[:] for triangle in mesh.loop_triangles], np.int64)
    slots = np.array([triangle.material_index for triangle in mesh.loop_triangles], np.int64)
    evaluated.to_mesh_clear()
    return uv[loops].astype(np.float64), slots


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    differences = judge(request["looks"])
    listed = {name: [item.to_json() for item in items] for name, items in differences.items()}
    Path(request["output"]).write_text(json.dumps(listed, indent=1), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
