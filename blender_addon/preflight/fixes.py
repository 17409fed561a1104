# SPDX-License-Identifier: GPL-3.0-or-later
"""One-click fixes of what the preflight finds. Each is one undo step; mode, selection and active object stay."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ..common.errors import PbrFitError, report
from ..common.light_names import STUDIO
from ..common.package import ADDON
from ..common.wait_cursor import wait_cursor
from ..export.mesh_reading import Readings
from ..export.plan import target_objects
from ..protocol.map_shape import map_size
from ..settings.map_shape import map_resolution
from ..settings.start import BAKE
from ..translations.translate import tr_report, without_level
from . import checks
from .images import image_uses
from .losses import keeper_for
from .making_local import make_local
from .objects import CONVERTIBLE
from .packing import pack
from .unwrapping import alone, unwrap
from .verdicts import fitted_target


class Fix:
    """What the operators share that fix the object that a finding names, or all objects to fit.

    It is not an operator itself: Blender reads a base class's properties only if that is no class of Blender's.
    """

    bl_options = {"REGISTER", "UNDO"}
    target: StringProperty(name="Object", description="Which object; empty: all", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
        """There must be something to fix."""
        if not target_objects(context):
            cls.poll_message_set("No object is active")
            return False
        return True

    def execute(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        """Fix it, or report why not."""
        objects = [item for item in target_objects(context) if self.target in {"", item.name_full}]
        if not objects:
            self.report({"ERROR"}, tr_report(f'"{self.target}" is not selected any more'))
            return {"CANCELLED"}
        try:
            with wait_cursor(context):
                done = self.fix(context, objects)
            self.report({"INFO"}, tr_report(done))
        except PbrFitError as error:
            report(self, error)
            return {"CANCELLED"}
        except RuntimeError as error:  # what an operator of Blender reports
            self.report({"ERROR"}, without_level(error))
            return {"CANCELLED"}
        finally:
            checks.forget_check()
        return {"FINISHED"}

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Fix these objects and return what was done. Raises PbrFitError, or RuntimeError as Blender's operators do."""
        raise NotImplementedError


def names(objects: list[bpy.types.Object]) -> str:
    """The objects' names in quotes."""
    return ", ".join(f'"{item.name}"' for item in objects)


def uv_map_shown(scene_object: bpy.types.Object, context: bpy.types.Context) -> str:
    """The UV map that a fit of the evaluated object uses, or empty."""
    return Readings(context.evaluated_depsgraph_get()).of(scene_object).uv_map or ""


class PBRFIT_OT_check(bpy.types.Operator):
    """Look for everything that may stop or spoil a fit of the selected or active objects, without starting it"""

    bl_idname = "pbrfit.check"
    bl_label = "Check"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be something to check."""
        if not target_objects(context):
            cls.poll_message_set("No object is active")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Check; the sidebar shows the findings."""
        found = checks.all_findings(context, context.evaluated_depsgraph_get())
        errors = len(checks.errors_of(found))
        text = f"{errors} errors, {len(found) - errors} warnings" if found else "No problems found"
        self.report({"INFO"}, tr_report(f"PBRfit: {text}"))
        return {"FINISHED"}


class PBRFIT_OT_unwrap(Fix, bpy.types.Operator):
    """Unwrap into a new UV map without overlaps, for the fit. The old UV maps and the looks stay"""

    bl_idname = "pbrfit.unwrap"
    bl_label = "Unwrap"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Unwrap them side by side."""
        unwrap(context, objects, map_size(map_resolution(context.scene.pbrfit)))
        return f'{names(objects)}: unwrapped into the UV map "{objects[0].data.uv_layers.active.name}"'


class PBRFIT_OT_pack_islands(Fix, bpy.types.Operator):
    """Pack the UV islands of the selected or active objects side by side into a new UV map. The old UV maps and the looks stay"""

    bl_idname = "pbrfit.pack_islands"
    bl_label = "Pack Islands"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Pack them together."""
        pack(context, objects, map_size(map_resolution(context.scene.pbrfit)))
        return f'{names(objects)}: packed into the UV map "{objects[0].data.uv_layers.active.name}"'


class PBRFIT_OT_apply_scale(Fix, bpy.types.Operator):
    """Apply the object's scale to its mesh. An object that shares its mesh gets its own"""

    bl_idname = "pbrfit.apply_scale"
    bl_label = "Apply Scale"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Apply it."""
        with alone(context, objects):
            bpy.ops.object.transform_apply(location=False, rotation=False, scale=True, isolate_users=True)
        context.view_layer.update()
        for item in objects:
            lengths = [axis.length for axis in item.matrix_world.to_3x3().col]
            if max(lengths) > 1.001 * min(lengths):
                raise PbrFitError(
                    f'"{item.name}" is still scaled differently along its axes: its parent or a constraint scales it.',
                    "Apply the scale there.",
                )
        return f"{names(objects)}: scale applied"


class PBRFIT_OT_clear_scale(Fix, bpy.types.Operator):
    """Give the object a scale of one on every axis"""

    bl_idname = "pbrfit.clear_scale"
    bl_label = "Clear Scale"

    def fix(self, _context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Clear it."""
        for item in objects:
            item.scale = item.delta_scale = (1.0, 1.0, 1.0)
        return f"{names(objects)}: scale cleared"


class PBRFIT_OT_triangulate(Fix, bpy.types.Operator):
    """Add a Triangulate modifier for faces with more than four corners, so that every program splits them in the same way"""

    bl_idname = "pbrfit.triangulate"
    bl_label = "Triangulate"

    def fix(self, _context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Add it at the end."""
        for item in objects:
            modifier = item.modifiers.new("Triangulate", "TRIANGULATE")
            modifier.min_vertices = 5
            if hasattr(modifier, "keep_custom_normals"):
                modifier.keep_custom_normals = True
        return f"{names(objects)}: got a Triangulate modifier"


class PBRFIT_OT_object_mode(Fix, bpy.types.Operator):
    """Switch to Object Mode"""

    bl_idname = "pbrfit.object_mode"
    bl_label = "Object Mode"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Leave the other mode."""
        layer = context.view_layer
        active = layer.objects.active
        for item in (active, *objects):
            if item is not None and item.mode != "OBJECT":
                layer.objects.active = item
                bpy.ops.object.mode_set(mode="OBJECT")
        layer.objects.active = active
        return "Object Mode"


class PBRFIT_OT_show_object(Fix, bpy.types.Operator):
    """Show the object in the viewport"""

    bl_idname = "pbrfit.show_object"
    bl_label = "Show"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Show it."""
        for item in objects:
            item.hide_viewport = False
            item.hide_set(False, view_layer=context.view_layer)
            if not item.visible_get(view_layer=context.view_layer):
                raise PbrFitError(f'"{item.name}" is hidden by its collection.', "Show the collection in the Outliner.")
        return f"{names(objects)}: shown"


class PBRFIT_OT_make_local(Fix, bpy.types.Operator):
    """Make the linked object and its mesh part of this file"""

    bl_idname = "pbrfit.make_local"
    bl_label = "Make Local"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Make them local."""
        done = [make_local(context, item) for item in objects if item.library is not None]
        return f"{names(done)}: part of this file now"


class PBRFIT_OT_convert_to_mesh(Fix, bpy.types.Operator):
    """Convert the object to a mesh, with its modifiers applied"""

    bl_idname = "pbrfit.convert_to_mesh"
    bl_label = "Convert to Mesh"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Convert those that can be: what is no mesh, and meshes with modifiers, which they apply."""
        objects = [item for item in objects if item.type in CONVERTIBLE or (item.type == "MESH" and item.modifiers)]
        if not objects:
            raise PbrFitError("Nothing selected can be converted.", "Select a curve, a text or a mesh with modifiers.")
        shown = {item: uv_map_shown(item, context) for item in objects if item.type == "MESH"}
        for item in shown:
            if item.data.users > 1 or not item.data.is_editable:  # Blender would change the others' mesh too
                item.data = item.data.copy()
        with alone(context, objects):
            bpy.ops.object.convert(target="MESH")
        for item, uv_map in shown.items():
            if uv_map in item.data.uv_layers:
                item.data.uv_layers.active = item.data.uv_layers[uv_map]
        return f"{names(objects)}: converted to a mesh"


class PBRFIT_OT_pack_images(Fix, bpy.types.Operator):
    """Pack the images with unsaved changes of the object's materials and of the world into the file"""

    bl_idname = "pbrfit.pack_images"
    bl_label = "Pack Images"

    def fix(self, context: bpy.types.Context, objects: list[bpy.types.Object]) -> str:
        """Pack them."""
        readings = Readings(context.evaluated_depsgraph_get())
        meshes = [item for item in objects if item.type == "MESH"]
        uses = image_uses(context, meshes, readings)
        images = dict.fromkeys(use.image for use in uses if use.image.is_dirty)
        for image in images:
            image.pack()
        return f"Packed {len(images)} images"


class PBRFIT_OT_use_studio_light(bpy.types.Operator):
    """Render the references in lights made for this, whatever the scene's world is"""

    bl_idname = "pbrfit.use_studio_light"
    bl_label = "Use Studio Light"
    bl_options = {"REGISTER", "UNDO"}
    target: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose it; a light that is known need not be learned."""
        context.scene.pbrfit.reference_light = STUDIO
        context.scene.pbrfit.learn_light = False
        return {"FINISHED"}


class PBRFIT_OT_keep_lobes(bpy.types.Operator):
    """Choose what to bake for, so that the new materials keep what their nodes have: the leanest target that does"""

    bl_idname = "pbrfit.keep_lobes"
    bl_label = "Keep It"
    bl_options = {"REGISTER", "UNDO"}
    target: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose the target, and the bake to begin with."""
        settings = context.scene.pbrfit
        shown = [slot.material for item in target_objects(context) for slot in item.material_slots]
        settings.bake_target = keeper_for(shown, fitted_target(settings))
        settings.start = BAKE
        return {"FINISHED"}


class PBRFIT_OT_open_preferences(bpy.types.Operator):
    """Open the preferences of PBRfit, to set up, choose and check the backend"""

    bl_idname = "pbrfit.open_preferences"
    bl_label = "Open Preferences"
    bl_options = {"REGISTER"}
    target: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be windows."""
        if bpy.app.background:
            cls.poll_message_set("This Blender has no windows")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Open them."""
        bpy.ops.screen.userpref_show()
        result: set[str] = bpy.ops.preferences.addon_show(module=ADDON)
        return result


CLASSES = (
    PBRFIT_OT_check,
    PBRFIT_OT_unwrap,
    PBRFIT_OT_pack_islands,
    PBRFIT_OT_apply_scale,
    PBRFIT_OT_clear_scale,
    PBRFIT_OT_triangulate,
    PBRFIT_OT_object_mode,
    PBRFIT_OT_show_object,
    PBRFIT_OT_make_local,
    PBRFIT_OT_convert_to_mesh,
    PBRFIT_OT_pack_images,
    PBRFIT_OT_use_studio_light,
    PBRFIT_OT_keep_lobes,
    PBRFIT_OT_open_preferences,
)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the operators."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
