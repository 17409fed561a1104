# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own exporters, with the settings that keep what a new material says."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

from ..common.errors import PbrFitError
from ..common.node_trees import images_of
from ..protocol.model_kinds import GLTF, OBJ, ModelKind
from .beside import folder_of

GLTF_SETTINGS: dict[str, Any] = {
    "use_selection": True,
    "export_apply": True,
    "export_tangents": True,
    "export_animations": False,
    "export_skins": False,
    "export_morph": False,
    "export_yup": True,
    "export_image_format": "AUTO",
    "export_vertex_color": "NONE",
}
USD_SETTINGS: dict[str, Any] = {
    "selected_objects_only": True,
    "export_materials": True,
    "generate_preview_surface": True,
    "generate_materialx_network": False,
    "export_textures": False,
    "export_textures_mode": "PRESERVE",
    "relative_paths": True,
    "export_uvmaps": True,
    "rename_uvmaps": True,
    "export_normals": True,
    "export_mesh_colors": False,
    "convert_orientation": True,
    "export_global_forward_selection": "NEGATIVE_Z",
    "export_global_up_selection": "Y",
    "convert_world_material": False,
    "export_lights": False,
    "export_cameras": False,
    "export_custom_properties": False,
    "evaluation_mode": "VIEWPORT",
    "triangulate_meshes": False,
}
OBJ_SETTINGS: dict[str, Any] = {
    "export_selected_objects": True,
    "export_eval_mode": "DAG_EVAL_VIEWPORT",
    "apply_modifiers": True,
    "export_pbr_extensions": True,
    "export_materials": True,
    "path_mode": "RELATIVE",
}


def export(kind: ModelKind, path: Path) -> None:
    """Write the selected objects. Raises PbrFitError if Blender cannot."""
    if kind.writer == GLTF:
        form = "GLB" if kind.key == "glb" else "GLTF_SEPARATE"
        call(
            bpy.ops.export_scene.gltf,
            path,
            GLTF_SETTINGS | {"export_format": form, "export_texture_dir": folder_of(path)},
        )
    elif kind.writer == OBJ:
        call(bpy.ops.wm.obj_export, path, OBJ_SETTINGS)
    else:
        call(bpy.ops.wm.usd_export, path, USD_SETTINGS)
        if path.suffix == ".usdz":  # it holds the maps itself
            shutil.rmtree(path.parent / folder_of(path), ignore_errors=True)


def call(operator: Any, path: Path, settings: dict[str, Any]) -> None:
    """Call an exporter with those of the settings that this Blender's has. Raises PbrFitError."""
    known = set(operator.get_rna_type().properties.keys())
    try:
        done = operator(filepath=str(path), check_existing=False, **{k: v for k, v in settings.items() if k in known})
    except RuntimeError as error:
        raise PbrFitError(
            f"Blender's exporter failed: {str(error).strip().removeprefix('Error: ')}", "Try another format."
        ) from error
    if done != {"FINISHED"} or not path.is_file():
        raise PbrFitError(f"Blender's exporter wrote no {path.name}.", "Make room on the disk, or try another format.")


def check_tiles(kind: ModelKind, materials: Iterable[bpy.types.Material]) -> None:
    """Raise PbrFitError if a material has images with UDIM tiles, which a kind of file cannot hold."""
    for material in materials:
        for image in images_of(material.node_tree) if material.node_tree is not None else ():
            if image.source == "TILED":
                raise PbrFitError(
                    f'The material "{material.name}" has UDIM tiles, which {kind.suffix} files cannot hold.',
                    "Press Pack Islands and bake again, or export USD.",
                )
