# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a fit, found before anything starts and without changing anything.

`quick_findings` reads only what is cheap enough for a panel that is redrawn; `all_findings` adds what needs the
evaluated mesh and the file system, for the click.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import bpy
import numpy as np

from .export_mesh import evaluated_mesh, read
from .node_trees import images_of, missing_file, tree_of
from .preferences import addon_preferences

ERROR = "ERROR"
WARNING = "WARNING"
MODES_WITH_UNFINISHED_MESH = {"EDIT": "Edit Mode", "SCULPT": "Sculpt Mode", "PARTICLE_EDIT": "Particle Edit"}
SMALLEST_RELATIVE_VOLUME = 1e-9
SMALLEST_UV_AREA = 1e-12
TOLERATED_FLAT_SHARE = 0.01
FARTHEST = 1e15  # coordinates beyond this overflow float32 once they are squared


@dataclass(frozen=True)
class Finding:
    """Something that stops a fit (ERROR) or may spoil it (WARNING): cause and cure are sentences."""

    level: str
    cause: str
    cure: str

    def __str__(self) -> str:
        return f"{self.cause} {self.cure}"


def target_object(context: bpy.types.Context) -> bpy.types.Object | None:
    """The object that would be fitted: the active one."""
    return context.view_layer.objects.active


def errors_of(findings: list[Finding]) -> list[Finding]:
    """Those findings that stop a fit."""
    return [finding for finding in findings if finding.level == ERROR]


def quick_findings(context: bpy.types.Context) -> list[Finding]:
    """What can be seen from the object, its slots, the scene and the preferences alone."""
    scene_object = target_object(context)
    if scene_object is None:
        return [Finding(ERROR, "No object is active.", "Click the object to fit.")]
    findings = list(object_findings(scene_object))
    if not errors_of(findings):
        findings += material_findings(scene_object)
    findings += world_findings(context.scene)
    findings += network_findings(context)
    return findings


def all_findings(context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> list[Finding]:
    """Everything that can be found before a fit; `depsgraph` is the evaluated one of `context`."""
    findings = quick_findings(context)
    scene_object = target_object(context)
    if scene_object is None or errors_of(findings):
        return findings + (image_findings_of_scene(context) if scene_object is not None else [])
    findings += transform_findings(scene_object, depsgraph)
    if not errors_of(findings):
        findings += geometry_findings(scene_object, depsgraph)
    findings += image_findings_of_scene(context)
    return findings


def object_findings(scene_object: bpy.types.Object) -> Iterator[Finding]:
    """Kind, owner, mode and basic parts of the object; stops at the first error."""
    name = scene_object.name
    if scene_object.type != "MESH":
        kind = scene_object.type.replace("_", " ").lower()
        cure = "Select a mesh, or convert this object with Object > Convert > Mesh."
        yield Finding(ERROR, f'"{name}" is not a mesh but of the type {kind}.', cure)
        return
    if scene_object.library is not None or scene_object.data.library is not None:
        library = scene_object.library or scene_object.data.library
        yield Finding(
            ERROR,
            f'"{name}" is linked from {library.filepath}, so its material slots cannot be changed here.',
            "Make it local (Object > Relations > Make Local > Selected Objects and Data), or fit it in its own file.",
        )
        return
    if scene_object.mode in MODES_WITH_UNFINISHED_MESH:
        mode = MODES_WITH_UNFINISHED_MESH[scene_object.mode]
        yield Finding(ERROR, f'"{name}" is in {mode}, where its mesh is unfinished.', "Switch to Object Mode.")
        return
    if not scene_object.visible_get():
        yield Finding(ERROR, f'"{name}" is hidden in the viewport.', "Show it in the Outliner.")
        return
    if not scene_object.modifiers and not scene_object.data.polygons:
        yield Finding(ERROR, f'"{name}" has no faces.', "Select an object with faces, or add faces in Edit Mode.")
        return
    if scene_object.data.uv_layers.active is None:
        yield Finding(
            ERROR, f'"{name}" has no UV map.', "Unwrap it: in Edit Mode select all, then UV > Smart UV Project."
        )


def material_findings(scene_object: bpy.types.Object) -> Iterator[Finding]:
    """The material slots of a mesh object."""
    slots = scene_object.material_slots
    if not any(slot.material is not None for slot in slots):
        yield Finding(
            ERROR,
            f'"{scene_object.name}" has no material to fit.',
            "Give it the material whose look shall be fitted, in the Material properties.",
        )
    elif any(slot.material is None for slot in slots):
        cure = "Faces in it are fitted as Blender shows them; give the slot a material if that is not meant."
        yield Finding(WARNING, "A material slot is empty.", cure)


def world_findings(scene: bpy.types.Scene) -> Iterator[Finding]:
    """The world's light, and lamps that do not take part."""
    if scene.world is None:
        yield Finding(
            ERROR,
            "The scene has no world, so nothing lights the object for the fit.",
            "Add a world in the World properties, best with an Environment Texture.",
        )
    if any(item.type == "LIGHT" and not item.hide_render for item in scene.objects):
        cure = "Put the light that matters into the world if the result looks off."
        yield Finding(WARNING, "Lamps take no part in the fit: the object is seen in the world's light.", cure)


def network_findings(context: bpy.types.Context) -> Iterator[Finding]:
    """A remote backend needs Blender's leave to go online."""
    address = addon_preferences(context).backend_address.strip()
    if not address:
        return
    host = urlsplit(address).hostname if "://" in address else None
    if host is None:
        cure = "Write it like tcp://192.168.1.20:5555 in the add-on's preferences, or leave it empty."
        yield Finding(ERROR, f'The backend address "{address}" is not an address.', cure)
    elif host not in {"127.0.0.1", "localhost", "::1"} and not bpy.app.online_access:
        yield Finding(
            ERROR,
            f"The backend {host} is on another machine, and Blender is not allowed to go online.",
            "Turn on Preferences > System > Network > Allow Online Access, or use a backend on this machine.",
        )


def transform_findings(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[Finding]:
    """The evaluated world transform: finite, invertible, and best uniform."""
    linear = np.array(scene_object.evaluated_get(depsgraph).matrix_world, dtype=np.float64)[:3, :3]
    name = scene_object.name
    if not np.isfinite(linear).all():
        yield Finding(ERROR, f'The transform of "{name}" is not finite.', "Reset it with Object > Clear.")
        return
    lengths = np.linalg.norm(linear, axis=0)
    if lengths.min() <= 0.0 or abs(np.linalg.det(linear)) < SMALLEST_RELATIVE_VOLUME * lengths.max() ** 3:
        cure = "Give it a scale other than zero on every axis (Alt S clears the scale)."
        yield Finding(ERROR, f'"{name}" is scaled to zero, so it has no volume and no surface.', cure)
    elif lengths.max() > 1.001 * lengths.min():
        cure = "Apply it with Object > Apply > Scale if a normal map is fitted."
        yield Finding(WARNING, f'"{name}" is scaled differently along its axes, which bends normal maps.', cure)


def geometry_findings(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[Finding]:
    """The evaluated mesh: faces, finite vertices, and a UV map that covers something."""
    name = scene_object.name
    uv_map = scene_object.data.uv_layers.active.name
    with evaluated_mesh(scene_object, depsgraph) as mesh:
        if not mesh.polygons:
            cure = "Select an object with faces, or check which modifier removes them."
            yield Finding(ERROR, f'"{name}" has no faces with its modifiers applied.', cure)
            return
        if uv_map not in mesh.uv_layers:
            cure = "Keep the UV map in the modifiers, or apply them and unwrap the result."
            yield Finding(ERROR, f'The modifiers of "{name}" remove its UV map "{uv_map}".', cure)
            return
        positions = read(mesh.vertices, "co", 3, np.float32)
        area = float(read(mesh.polygons, "area", 1, np.float32).sum())
        uv = read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)
        triangles = read(mesh.loop_triangles, "loops", 3, np.int32)
        shown = [item.name if item is not None else None for item in mesh.materials]
    broken = int((~(np.abs(positions) < FARTHEST).all(axis=1)).sum())
    if broken:
        cure = "Delete them, or run Mesh > Clean Up > Delete Loose and check the modifiers."
        yield Finding(ERROR, f'"{name}" has {broken} vertices that are nowhere (NaN, infinite or absurdly far).', cure)
        return
    if area == 0.0:
        yield Finding(ERROR, f'All faces of "{name}" have no area.', "Give it its shape back in Edit Mode.")
        return
    own = [slot.material.name if slot.material is not None else None for slot in scene_object.material_slots]
    if shown != own[: len(shown)] and any(item is not None for item in shown):
        cure = "Apply the modifier that sets the materials (Geometry Nodes: Set Material) first."
        yield Finding(ERROR, f'The modifiers of "{name}" set its materials, not its slots.', cure)
    yield from uv_findings(name, uv_map, uv, triangles)


def uv_findings(name: str, uv_map: str, uv: np.ndarray, triangles: np.ndarray) -> Iterator[Finding]:
    """UVs [corners, 2] of triangles [T, 3] of corners: finite, with area, within the unit square."""
    if not np.isfinite(uv).all():
        cure = "Unwrap again: in Edit Mode select all, then UV > Smart UV Project."
        yield Finding(ERROR, f'The UV map "{uv_map}" of "{name}" holds values that are not numbers.', cure)
        return
    corners = uv[triangles].astype(np.float64)
    edge_a, edge_b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.abs(edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0])
    flat = float((area < SMALLEST_UV_AREA).mean())
    if flat == 1.0:
        cure = "Unwrap it: in Edit Mode select all, then UV > Smart UV Project."
        yield Finding(ERROR, f'All faces of "{name}" have no area in its UV map "{uv_map}".', cure)
        return
    if flat > TOLERATED_FLAT_SHARE:
        cure = "Unwrap these faces, or they get one color each."
        yield Finding(WARNING, f'{flat:.0%} of the triangles of "{name}" have no area in its UV map.', cure)
    if uv.min() < -1e-4 or uv.max() > 1.0 + 1e-4:
        cure = "Scale it to fit (UV > Pack Islands), or faces share pixels of the maps."
        yield Finding(WARNING, f'The UV map "{uv_map}" reaches outside the square from 0 to 1.', cure)


def image_findings_of_scene(context: bpy.types.Context) -> list[Finding]:
    """Images of the object's materials and of the world."""
    owners = [(slot.material, "material") for slot in target_object(context).material_slots]
    owners.append((context.scene.world, "world"))
    findings: dict[str, Finding] = {}
    for owner, kind in owners:
        for image in images_of(tree_of(owner)):
            finding = image_finding(image, f'the {kind} "{owner.name}"')
            if finding is not None:
                findings.setdefault(image.name_full, finding)
    return list(findings.values())


def image_finding(image: bpy.types.Image, user: str) -> Finding | None:
    """What stops a second Blender from seeing `image` as this one does."""
    path = missing_file(image)
    if path is not None:
        cure = "Find it with File > External Data > Find Missing Files, or choose another image."
        return Finding(ERROR, f'The image "{image.name}" of {user} misses its file {path}.', cure)
    if image.is_dirty:
        cure = "Save it (Image > Save) or pack it (Image > Pack) in the Image Editor."
        return Finding(ERROR, f'The image "{image.name}" of {user} has changes that are not saved.', cure)
    return None
