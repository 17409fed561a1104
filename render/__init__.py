"""The renderer: everything that a library's user needs, loaded on first use.

    from render import Camera, TextureMaterial, load_env, read_obj, render_mesh

`import render` alone imports nothing, not even torch: each name imports its module when it is first used. Where nvdiffrec's
renderer has the same thing, it has the same name here. docs/renderer.md shows examples; the docstrings have the details.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_NAMES_OF = {
    "render.bsdf.nvdiffrec_shading": "nvdiffrec_radiance",
    "render.core.color": "linear_to_srgb log_srgb psnr srgb_to_linear",
    "render.core.image_io": "ImageError read_image write_image",
    "render.files.gltf": "load_gltf read_gltf save_gltf",
    "render.files.gltf_materials": "GltfMaterial GltfScene gltf_textures",
    "render.files.mtl": "MaterialTextures MtlMaterial load_material_textures load_mtl save_mtl",
    "render.files.obj": "ObjScene load_obj read_obj save_obj",
    "render.geometry.camera": "Camera cameras_around fibonacci_directions look_at orthographic "
    "perspective perspective_offcenter random_cameras rotating_cameras",
    "render.geometry.mesh": "Mesh MeshError MeshReport center_by_reference mesh_from_indexed "
    "smooth_normals unit_size validate",
    "render.geometry.tangents": "compute_tangents",
    "render.images.losses": "image_loss",
    "render.images.render_mesh": "render_layer render_mesh",
    "render.images.render_uv": "render_uv",
    "render.light.cubemap": "cubemap_to_latlong latlong_to_cubemap",
    "render.light.environment": "EnvironmentLight create_trainable_env_rnd env_from_latlong load_env save_env_map",
    "render.light.prefilter": "diffuse_cubemap specular_cubemap",
    "render.light.prefiltered": "NvdiffrecLight PrefilteredLight",
    "render.material.field": "MLPTexture3D",
    "render.material.hash_grid": "HashGridConfig",
    "render.material.material": "FieldMaterial Material MaterialLayout MaterialMaps MaterialSample TextureMaterial "
    "initial_maps material_layout",
    "render.preview.renderer": "PreviewRenderer",
    "render.raster.antialias": "antialias opposite_vertices",
    "render.raster.kernels.triton_provider": "triton_fragments",
    "render.raster.nvdiffrast": "ProviderError nvdiffrast_is_installed nvdiffrast_rasterizer",
    "render.raster.portable": "Fragments Rasterizer visible_fragments",
    "render.raster.surface": "ShadingPoints SurfacePoints interpolate surface_points",
    "render.shading.normal_map": "prepare_shading_normal shading_normal",
    "render.shading.lobes": "Lobes",
    "render.shading.shade": "NVDIFFREC_SHADING PRINCIPLED_SHADING Shading shade",
    "render.texture.texture": "Texture2D create_trainable load_texture2D rgb_to_srgb save_texture2D srgb_to_rgb",
}
"""The names that each module gives to the face. The imports below tell them to type checkers and editors."""

_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)

if TYPE_CHECKING:
    from render.bsdf.nvdiffrec_shading import nvdiffrec_radiance as nvdiffrec_radiance
    from render.core.color import linear_to_srgb as linear_to_srgb
    from render.core.color import log_srgb as log_srgb
    from render.core.color import psnr as psnr
    from render.core.color import srgb_to_linear as srgb_to_linear
    from render.core.image_io import ImageError as ImageError
    from render.core.image_io import read_image as read_image
    from render.core.image_io import write_image as write_image
    from render.files.gltf import load_gltf as load_gltf
    from render.files.gltf import read_gltf as read_gltf
    from render.files.gltf import save_gltf as save_gltf
    from render.files.gltf_materials import GltfMaterial as GltfMaterial
    from render.files.gltf_materials import GltfScene as GltfScene
    from render.files.gltf_materials import gltf_textures as gltf_textures
    from render.files.mtl import MaterialTextures as MaterialTextures
    from render.files.mtl import MtlMaterial as MtlMaterial
    from render.files.mtl import load_material_textures as load_material_textures
    from render.files.mtl import load_mtl as load_mtl
    from render.files.mtl import save_mtl as save_mtl
    from render.files.obj import ObjScene as ObjScene
    from render.files.obj import load_obj as load_obj
    from render.files.obj import read_obj as read_obj
    from render.files.obj import save_obj as save_obj
    from render.geometry.camera import Camera as Camera
    from render.geometry.camera import cameras_around as cameras_around
    from render.geometry.camera import fibonacci_directions as fibonacci_directions
    from render.geometry.camera import look_at as look_at
    from render.geometry.camera import orthographic as orthographic
    from render.geometry.camera import perspective as perspective
    from render.geometry.camera import perspective_offcenter as perspective_offcenter
    from render.geometry.camera import random_cameras as random_cameras
    from render.geometry.camera import rotating_cameras as rotating_cameras
    from render.geometry.mesh import Mesh as Mesh
    from render.geometry.mesh import MeshError as MeshError
    from render.geometry.mesh import MeshReport as MeshReport
    from render.geometry.mesh import center_by_reference as center_by_reference
    from render.geometry.mesh import mesh_from_indexed as mesh_from_indexed
    from render.geometry.mesh import smooth_normals as smooth_normals
    from render.geometry.mesh import unit_size as unit_size
    from render.geometry.mesh import validate as validate
    from render.geometry.tangents import compute_tangents as compute_tangents
    from render.images.losses import image_loss as image_loss
    from render.images.render_mesh import render_layer as render_layer
    from render.images.render_mesh import render_mesh as render_mesh
    from render.images.render_uv import render_uv as render_uv
    from render.light.cubemap import cubemap_to_latlong as cubemap_to_latlong
    from render.light.cubemap import latlong_to_cubemap as latlong_to_cubemap
    from render.light.environment import EnvironmentLight as EnvironmentLight
    from render.light.environment import create_trainable_env_rnd as create_trainable_env_rnd
    from render.light.environment import env_from_latlong as env_from_latlong
    from render.light.environment import load_env as load_env
    from render.light.environment import save_env_map as save_env_map
    from render.light.prefilter import diffuse_cubemap as diffuse_cubemap
    from render.light.prefilter import specular_cubemap as specular_cubemap
    from render.light.prefiltered import NvdiffrecLight as NvdiffrecLight
    from render.light.prefiltered import PrefilteredLight as PrefilteredLight
    from render.material.field import MLPTexture3D as MLPTexture3D
    from render.material.hash_grid import HashGridConfig as HashGridConfig
    from render.material.material import FieldMaterial as FieldMaterial
    from render.material.material import Material as Material
    from render.material.material import MaterialLayout as MaterialLayout
    from render.material.material import MaterialMaps as MaterialMaps
    from render.material.material import MaterialSample as MaterialSample
    from render.material.material import TextureMaterial as TextureMaterial
    from render.material.material import initial_maps as initial_maps
    from render.material.material import material_layout as material_layout
    from render.preview.renderer import PreviewRenderer as PreviewRenderer
    from render.raster.antialias import antialias as antialias
    from render.raster.antialias import opposite_vertices as opposite_vertices
    from render.raster.kernels.triton_provider import triton_fragments as triton_fragments
    from render.raster.nvdiffrast import ProviderError as ProviderError
    from render.raster.nvdiffrast import nvdiffrast_is_installed as nvdiffrast_is_installed
    from render.raster.nvdiffrast import nvdiffrast_rasterizer as nvdiffrast_rasterizer
    from render.raster.portable import Fragments as Fragments
    from render.raster.portable import Rasterizer as Rasterizer
    from render.raster.portable import visible_fragments as visible_fragments
    from render.raster.surface import ShadingPoints as ShadingPoints
    from render.raster.surface import SurfacePoints as SurfacePoints
    from render.raster.surface import interpolate as interpolate
    from render.raster.surface import surface_points as surface_points
    from render.shading.lobes import Lobes as Lobes
    from render.shading.normal_map import prepare_shading_normal as prepare_shading_normal
    from render.shading.normal_map import shading_normal as shading_normal
    from render.shading.shade import NVDIFFREC_SHADING as NVDIFFREC_SHADING
    from render.shading.shade import PRINCIPLED_SHADING as PRINCIPLED_SHADING
    from render.shading.shade import Shading as Shading
    from render.shading.shade import shade as shade
    from render.texture.texture import Texture2D as Texture2D
    from render.texture.texture import create_trainable as create_trainable
    from render.texture.texture import load_texture2D as load_texture2D
    from render.texture.texture import rgb_to_srgb as rgb_to_srgb
    from render.texture.texture import save_texture2D as save_texture2D
    from render.texture.texture import srgb_to_rgb as srgb_to_rgb
else:

    def __getattr__(name: str) -> Any:
        """Import a name of the face when it is first used (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
