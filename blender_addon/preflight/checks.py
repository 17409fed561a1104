# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what would stop or spoil a fit, before anything starts and without changing anything.

`quick_findings` reads only what is cheap enough for a panel that Blender draws often. `all_findings` is for the click:
it also reads the evaluated meshes and the file system.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import bpy

from ..common.errors import PbrFitError
from ..common.names import material_name
from ..common.node_trees import images_of, missing_file, tree_of
from ..export.mesh_reading import Readings
from ..export.plan import plan_groups, target_objects
from ..settings.preferences import addon_preferences
from ..settings.properties import fit_settings
from ..setup.backend_process import backend_command
from .finding import ERROR, WARNING, Finding, errors_of
from .mesh import Layout, MeshCheck, layout_findings, transform_findings

__all__ = ["ERROR", "WARNING", "Finding", "all_findings", "errors_of", "quick_findings", "target_objects"]

MODES_WITH_UNFINISHED_MESH = {"EDIT": "Edit Mode", "SCULPT": "Sculpt Mode", "PARTICLE_EDIT": "Particle Edit"}
CONVERTIBLE = {"CURVE", "SURFACE", "FONT", "META"}

BACKEND_SECONDS = 2.0

_backend: tuple[float, str | None, list[Finding]] = (0.0, None, [])
_checked: tuple[tuple[int, ...], list[Finding]] = ((), [])


def quick_findings(context: bpy.types.Context) -> list[Finding]:
    """What the objects, their slots, the scene, the settings and the preferences alone can tell."""
    targets = target_objects(context)
    if not targets:
        return [Finding(ERROR, "No object is active.", "Click the object to fit.", quick=True)]
    findings: list[Finding] = []
    for scene_object in targets:
        found = list(object_findings(scene_object, context.view_layer))
        if not errors_of(found):
            found += material_findings(scene_object)
        findings += found
    findings += world_findings(context.scene)
    findings += settings_findings(context)
    findings += network_findings(context)
    return [replace(finding, quick=True) for finding in findings]


def all_findings(
    context: bpy.types.Context, depsgraph: bpy.types.Depsgraph, readings: Readings | None = None
) -> list[Finding]:
    """Everything that can be found before a fit; `depsgraph` is the evaluated one of `context`.

    readings: collects the meshes that this reads, so that the caller can use them again.
    """
    readings = readings or Readings(depsgraph)
    findings = quick_findings(context)
    targets = target_objects(context)
    if not errors_of(findings):
        layouts: dict[int, Layout] = {}
        for scene_object in targets:
            findings += transform_findings(scene_object, depsgraph)
            check = MeshCheck(scene_object, readings, context.scene.pbrfit)
            findings += check.findings()
            if check.layout is not None:
                layouts[scene_object.session_uid] = check.layout
        if not errors_of(findings):
            findings += plan_findings(context, layouts, readings)
    findings += image_findings_of_scene(context, targets)
    global _checked
    _checked = tuple(item.session_uid for item in targets), findings
    return findings


def with_checked(context: bpy.types.Context, quick: list[Finding]) -> list[Finding]:
    """The quick findings, and what only the last full check of the same objects found."""
    objects, findings = _checked
    if objects != tuple(item.session_uid for item in target_objects(context)):
        return quick
    # A quick finding of the full check that is not found now has been fixed since.
    return quick + [finding for finding in findings if finding not in quick and not finding.quick]


def forget_check() -> None:
    """Forget the last full check, for example after a fix."""
    global _checked
    _checked = (), []


def plan_findings(context: bpy.types.Context, layouts: dict[int, Layout], readings: Readings) -> Iterator[Finding]:
    """Whether a fit of the targets can be planned, and how their faces lie in the sets of maps."""
    try:
        plans = plan_groups(context, readings)
    except PbrFitError as error:
        yield Finding(ERROR, error.cause, error.cure)
        return
    for plan in plans:
        yield from layout_findings(plan, layouts, context.scene.pbrfit.map_sets == "OBJECT")


def object_findings(scene_object: bpy.types.Object, layer: bpy.types.ViewLayer) -> Iterator[Finding]:
    """Type, owner, mode and basic parts of an object; stops at the first error."""
    name = scene_object.name
    if scene_object.type != "MESH":
        kind = scene_object.type.replace("_", " ").lower()
        cure = "Select a mesh, or convert this object with Object > Convert > Mesh."
        fix = "pbrfit.convert_to_mesh" if scene_object.type in CONVERTIBLE else ""
        yield Finding(ERROR, f'"{name}" is not a mesh but of the type {kind}.', cure, fix, name)
        return
    if scene_object.library is not None or scene_object.data.library is not None:
        library = scene_object.library or scene_object.data.library
        cause = f'"{name}" is linked from {library.filepath}, so PBRfit cannot change its material slots here.'
        cure = "Make it local (Object > Relations > Make Local > Selected Objects and Data), or fit it in its own file."
        yield Finding(ERROR, cause, cure, "pbrfit.make_local", name)
        return
    if scene_object.mode in MODES_WITH_UNFINISHED_MESH:
        mode = MODES_WITH_UNFINISHED_MESH[scene_object.mode]
        cause = f'"{name}" is in {mode}, where its mesh is unfinished.'
        yield Finding(ERROR, cause, "Switch to Object Mode.", "pbrfit.object_mode", name)
        return
    if not scene_object.visible_get(view_layer=layer):
        cause = f'"{name}" is hidden in the viewport.'
        yield Finding(ERROR, cause, "Show it in the Outliner.", "pbrfit.show_object", name)
        return
    if not scene_object.modifiers and not scene_object.data.polygons:
        yield Finding(ERROR, f'"{name}" has no faces.', "Select an object with faces, or add faces in Edit Mode.")
        return
    if scene_object.data.uv_layers.active is None:
        cure = "Unwrap it: in Edit Mode select all, then UV > Smart UV Project."
        yield Finding(ERROR, f'"{name}" has no UV map.', cure, "pbrfit.unwrap", name)


def material_findings(scene_object: bpy.types.Object) -> Iterator[Finding]:
    """A mesh object must have a material in a slot."""
    if not any(slot.material is not None for slot in scene_object.material_slots):
        cure = "Give it the material to fit, in the Material properties."
        yield Finding(ERROR, f'"{scene_object.name}" has no material to fit.', cure)


def world_findings(scene: bpy.types.Scene) -> Iterator[Finding]:
    """The world's light, and lamps that the fit ignores."""
    if scene.world is None:
        cause = "The scene has no world, so nothing lights the object for the fit."
        cure = "Add a world in the World properties, best with an Environment Texture."
        yield Finding(ERROR, cause, cure, "pbrfit.add_world")
    if bpy.data.lights and any(item.type == "LIGHT" and not item.hide_render for item in scene.objects):
        cure = "Put the important light into the world if the result looks wrong."
        yield Finding(WARNING, "The fit ignores lamps: only the world lights the object.", cure)


def settings_findings(context: bpy.types.Context) -> Iterator[Finding]:
    """Settings that are not allowed."""
    settings = context.scene.pbrfit
    try:
        fit_settings(settings)
        material_name(settings.material_name, "Object", "Material")
    except PbrFitError as error:
        yield Finding(ERROR, error.cause, error.cure)


def network_findings(context: bpy.types.Context) -> Iterator[Finding]:
    """A local backend must exist, and a remote one needs Blender's permission to go online."""
    address = addon_preferences(context).backend_address.strip()
    if not address:
        yield from local_backend_findings(addon_preferences(context).backend_python.strip())
        return
    host = urlsplit(address).hostname if "://" in address else None
    if host is None:
        cure = "Write it like tcp://192.168.1.20:5555 in the add-on's preferences, or leave it empty."
        yield Finding(ERROR, f'The backend address "{address}" is not an address.', cure, "pbrfit.open_preferences")
    elif host not in {"127.0.0.1", "localhost", "::1"} and not bpy.app.online_access:
        cause = f"The backend {host} is on another machine, and Blender is not allowed to go online."
        cure = "Turn on Preferences > System > Network > Allow Online Access, or use a backend on this machine."
        yield Finding(ERROR, cause, cure, "extensions.userpref_allow_online")


def local_backend_findings(python: str) -> list[Finding]:
    """Whether there is a backend on this machine; this reads the file system at most once in two seconds."""
    global _backend
    when, asked, found = _backend
    if asked != python or not 0.0 <= time.monotonic() - when < BACKEND_SECONDS:
        found = []
        try:
            backend_command(python)
        except PbrFitError as error:
            found = [Finding(ERROR, error.cause, error.cure, "pbrfit.open_preferences")]
        _backend = time.monotonic(), python, found
    return found


def image_findings_of_scene(context: bpy.types.Context, targets: list[bpy.types.Object]) -> list[Finding]:
    """Images of the targets' materials and of the world."""
    owners = [(slot.material, "material") for item in targets for slot in item.material_slots]
    owners.append((context.scene.world, "world"))
    findings: dict[str, Finding] = {}
    for owner, kind in owners:
        for image in images_of(tree_of(owner)):
            finding = image_finding(image, f'the {kind} "{owner.name}"')
            if finding is not None:
                findings.setdefault(image.name_full, finding)
    return list(findings.values())


def image_finding(image: bpy.types.Image, user: str) -> Finding | None:
    """What would make a second Blender show `image` in another way than this one."""
    path = missing_file(image)
    if path is not None:
        cause = f'The image "{image.name}" of {user} has no file: {path} does not exist.'
        cure = "Find it with File > External Data > Find Missing Files, or choose another image."
        return Finding(ERROR, cause, cure, "file.find_missing_files")
    if image.is_dirty:
        cause = f'The image "{image.name}" of {user} has changes that are not saved.'
        cure = "Save it (Image > Save) or pack it (Image > Pack) in the Image Editor."
        return Finding(ERROR, cause, cure, "pbrfit.pack_images")
    return None
