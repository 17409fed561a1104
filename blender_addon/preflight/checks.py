# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what would stop or spoil a fit or a bake, before anything starts and without changing anything.

`quick_findings` reads only what is cheap enough for a panel that Blender draws often. `all_findings` is for the click:
it also reads the evaluated meshes and the file system.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import bpy

from ..common.errors import PbrFitError
from ..common.light_names import STUDIO
from ..common.names import material_name
from ..common.node_trees import world_of
from ..export.mesh_reading import Readings
from ..export.plan import plan_groups, target_objects
from ..export.reference_light import reference_light
from ..settings.map_shape import map_resolution
from ..settings.preferences import addon_preferences
from ..settings.properties import fit_settings
from ..settings.start import MAPS, found_maps
from ..setup.backend_process import backend_command, require_connection
from . import bake
from .drivers import driver_findings
from .finding import ERROR, WARNING, Finding, errors_of
from .images import image_findings, shown_materials
from .libraries import object_library_findings
from .losses import fitted_findings
from .materials import material_findings, slots_of_faces
from .mesh import Layout, MeshCheck, transform_findings
from .objects import emitted_findings, has_neighbors, instance_findings, object_findings
from .overlaps import layout_findings
from .verdicts import fitted_target, forget_verdicts
from .worlds import world_findings

__all__ = [
    "BAKE",
    "ERROR",
    "FIT",
    "NO_BACKEND",
    "WARNING",
    "Finding",
    "all_findings",
    "errors_of",
    "quick_findings",
    "quick_materials",
    "target_objects",
]

FIT, BAKE = "FIT", "BAKE"
"""What the checks are for. A bake needs no backend, no light and no room for pictures, but materials that can be read."""
BACKEND_SECONDS = 2.0
OPEN_PREFERENCES = "pbrfit.open_preferences"
NO_BACKEND = "There is no backend"
"""The headline of what stops a fit and no bake."""

_backend: tuple[float, str | None, list[Finding]] = (0.0, None, [])
_checked: dict[str, tuple[tuple[int, ...], list[Finding]]] = {}


def quick_findings(context: bpy.types.Context, work: str = FIT) -> list[Finding]:
    """What the objects, their slots, the scene, the settings and the preferences alone can tell."""
    targets = target_objects(context)
    if not targets:
        return [Finding(ERROR, "No object is active.", "Click an object.", quick=True)]
    findings: list[Finding] = []
    readable: list[bpy.types.Object] = []
    for scene_object in targets:
        found = list(object_library_findings(scene_object))
        if not found:
            found += object_findings(scene_object, context.view_layer)
        if not errors_of(found):
            found += emitted_findings(scene_object)
            found += fitted_findings(scene_object)
            readable.append(scene_object)
        findings += found
    findings += materials_findings(context, quick_materials(readable), targets, work)
    if work == FIT:
        findings += world_findings(context.scene, context.view_layer)
    findings += file_findings(context.view_layer)
    findings += settings_findings(context, work)
    if work == FIT:
        findings += network_findings(context)
    return [replace(finding, quick=True) for finding in findings]


def quick_materials(targets: list[bpy.types.Object]) -> list[bpy.types.Material]:
    """The materials that faces of mesh objects certainly show, each once, as far as a quick look tells."""
    found = (item.material_slots[index].material for item in targets for index in sorted(slots_of_faces(item)))
    return [material for material in dict.fromkeys(found) if material is not None]


def materials_findings(
    context: bpy.types.Context,
    materials: Iterable[bpy.types.Material | None],
    targets: list[bpy.types.Object],
    work: str,
) -> list[Finding]:
    """What the nodes of materials of the targets tell."""
    if work == BAKE:
        return bake.bake_findings(materials, context.scene.pbrfit.bake_target)
    target = fitted_target(context.scene.pbrfit)
    return material_findings(materials, has_neighbors(context.view_layer, targets), target)


def all_findings(
    context: bpy.types.Context, depsgraph: bpy.types.Depsgraph, readings: Readings | None = None, work: str = FIT
) -> list[Finding]:
    """Everything that can be found before a fit or a bake; `depsgraph` is the evaluated one of `context`.

    readings: collects the meshes that this reads, so that the caller can use them again.
    """
    readings = readings or Readings(depsgraph)
    forget_verdicts()  # a script may change nodes without a word to Blender
    findings = quick_findings(context, work)
    targets = target_objects(context)
    can_read = not errors_of(findings)
    if can_read:
        findings += evaluated_findings(context, targets, readings, findings, work)
    with_world = work == FIT and shows_the_world(context)
    findings += image_findings(context, targets, readings if can_read else None, with_world)
    _checked[work] = tuple(item.session_uid for item in targets), findings
    return findings


def shows_the_world(context: bpy.types.Context) -> bool:
    """Whether the references of a fit are in the light of the scene's world."""
    chosen, world = context.scene.pbrfit, world_of(context.scene, context.view_layer)
    return reference_light(chosen.reference_light, chosen.learn_light, world) != STUDIO


def evaluated_findings(
    context: bpy.types.Context,
    targets: list[bpy.types.Object],
    readings: Readings,
    known: list[Finding],
    work: str,
) -> list[Finding]:
    """What the evaluated objects tell beyond what is `known`."""
    findings: list[Finding] = []
    layouts: dict[int, Layout] = {}
    for scene_object in targets:
        of_transform = list(transform_findings(scene_object, readings.depsgraph))
        # Cycles bakes normals as it reads them, however an object is scaled.
        findings += of_transform if work == FIT else errors_of(of_transform)
        check = MeshCheck(scene_object, readings, context.scene.pbrfit)
        findings += check.findings()
        if check.layout is not None:
            layouts[scene_object.session_uid] = check.layout
        findings += instance_findings(scene_object, readings.depsgraph)
        findings += driver_findings(scene_object, shown_materials(scene_object, readings).values())
    causes = {finding.cause for finding in known}
    shown = [material for item in targets for material in shown_materials(item, readings).values()]
    of_materials = materials_findings(context, shown, targets, work)
    findings += [finding for finding in of_materials if finding.cause not in causes]
    if not errors_of(findings):
        findings += plan_findings(context, layouts, readings)
    return findings


def with_checked(context: bpy.types.Context, quick: list[Finding]) -> list[Finding]:
    """The quick findings, and what only the last full checks of the same objects found."""
    targets = tuple(item.session_uid for item in target_objects(context))
    found = dict.fromkeys(quick)
    for objects, findings in _checked.values():
        if objects == targets:
            # A quick finding of the full check that is not found now has been fixed since.
            found |= dict.fromkeys(finding for finding in findings if not finding.quick)
    return list(found)


def forget_check() -> None:
    """Forget the last full checks, for example after a fix."""
    _checked.clear()


def plan_findings(context: bpy.types.Context, layouts: dict[int, Layout], readings: Readings) -> Iterator[Finding]:
    """Whether work on the targets can be planned, and how their faces lie in the sets of maps."""
    try:
        plans = plan_groups(context, readings)
    except PbrFitError as error:
        yield Finding(ERROR, error.cause, error.cure)
        return
    for plan in plans:
        yield from layout_findings(plan, layouts, context.scene.pbrfit.map_sets)


def file_findings(layer: bpy.types.ViewLayer) -> Iterator[Finding]:
    """What of the file's look the second Blender cannot show."""
    if layer.material_override is not None:
        cause = (
            f'The view layer "{layer.name}" shows the material "{layer.material_override.name}" in place of all others.'
        )
        yield Finding(WARNING, cause, "PBRfit takes the objects' own materials.")
    if bpy.app.autoexec_fail:
        cause = "Blender was not allowed to run the Python scripts and drivers of this file."
        cure = "What they drive is as it was saved. Allow them (File > Revert with Trusted Source) if it should be current."
        yield Finding(WARNING, cause, cure)


def settings_findings(context: bpy.types.Context, work: str) -> Iterator[Finding]:
    """Settings that are not allowed."""
    settings = context.scene.pbrfit
    try:
        map_resolution(settings)
        if work == FIT:
            fit_settings(settings)
        if work == FIT and settings.start == MAPS:
            found_maps(settings)
        material_name(settings.material_name, "Object", "Material")
    except PbrFitError as error:
        yield Finding(ERROR, error.cause, error.cure)


def network_findings(context: bpy.types.Context) -> Iterator[Finding]:
    """There must be something to connect with; a local backend must exist, a remote one needs the permission to go online."""
    try:
        require_connection()
    except PbrFitError as error:
        yield Finding(ERROR, error.cause, error.cure, OPEN_PREFERENCES, title=NO_BACKEND)
        return
    address = addon_preferences(context).backend_address.strip()
    if not address:
        yield from local_backend_findings(addon_preferences(context).backend_python.strip())
        return
    host = urlsplit(address).hostname if "://" in address else None
    if host is None:
        cure = "Write it like tcp://192.168.1.20:5555 in the add-on's preferences, or leave it empty."
        cause = f'The backend address "{address}" is not an address.'
        yield Finding(ERROR, cause, cure, OPEN_PREFERENCES, title=NO_BACKEND)
    elif host not in {"127.0.0.1", "localhost", "::1"} and not bpy.app.online_access:
        cause = f"The backend {host} is on another machine, and Blender is not allowed to go online."
        cure = "Turn on Preferences > System > Network > Allow Online Access, or use a backend on this machine."
        yield Finding(ERROR, cause, cure, "extensions.userpref_allow_online", title=NO_BACKEND)


def local_backend_findings(python: str) -> list[Finding]:
    """Whether there is a backend on this machine; this reads the file system at most once in two seconds."""
    global _backend
    when, asked, found = _backend
    if asked != python or not 0.0 <= time.monotonic() - when < BACKEND_SECONDS:
        found = []
        try:
            backend_command(python)
        except PbrFitError as error:
            found = [Finding(ERROR, error.cause, error.cure, OPEN_PREFERENCES, title=NO_BACKEND)]
        _backend = time.monotonic(), python, found
    return found
