"""The kernels of previews are compiled for an NVIDIA GPU where there is none: the interpreter lets pass what the compiler
refuses, such as a name that is a number in one branch and a constant in another.
"""

from __future__ import annotations

import importlib.util
import os

import pytest

from render.bsdf.ggx import ggx_table
from render.light.cube_atlas import CubeAtlas
from render.light.prefilter import default_levels

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1",
    reason="Triton's compiler is not there",
)
BUFFERS = {
    "keys": "*i64", "previous": "*i64", "starts": "*i64", "records": "*fp64", "counter": "*i64", "marks": "*i8",
    "counters": "*i64", "positions": "*fp32", "cameras": "*fp64", "matrices": "*fp64", "triangles": "*i32", "vertices": "*fp32",
    "texels": "*fp32", "alphas": "*fp32", "openness": "*fp32", "parts": "*i32", "part_table": "*i32",
    "table": "*fp32", "lobes": "*fp32", "sheen_table": "*fp32", "irradiance": "*fp32", "atlas": "*fp32",
}  # fmt: skip


def compiled(kernel, constants: dict, warps: int = 1, **arguments: str) -> str:
    """The kernel's code for an H100; arguments without a type are whole numbers."""
    import triton
    from triton.backends.compiler import GPUTarget

    names = kernel.arg_names
    types = {name: "constexpr" if name in constants else (BUFFERS | arguments).get(name, "i32") for name in names}
    source = triton.compiler.ASTSource(
        kernel, types, constexprs={(names.index(name),): value for name, value in constants.items()}
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps}).asm["ptx"]


@pytest.mark.parametrize(("clip", "peel", "spp"), [(False, False, 1), (True, True, 1), (False, False, 4)])
def test_rasterizer(clip, peel, spp):
    from render.raster.kernels.rasterize_triton import fill_tiles, set_up_triangles

    shared = {"PEEL": peel, "SPP": spp, "WIDE": 16, "HIGH": 8}
    types = {"positions": "*fp64" if clip else "*fp32", "vertices": "i32"}
    assert "atom" in compiled(set_up_triangles, shared | {"CLIP": clip, "SMALL": 16, "BLOCK": 64}, warps=2, **types)
    assert "min" in compiled(fill_tiles, shared | {"SEARCH": 3})


def test_cameras():
    from render.raster.kernels.rasterize_triton import compose_cameras

    assert "f64" in compiled(compose_cameras, {})


@pytest.mark.parametrize(
    ("channel", "nvdiffrec", "spp", "layers", "several", "image"),
    [
        ("lobes", False, 1, 1, False, "*fp32"),
        ("shaded", False, 1, 1, False, "*fp16"),
        ("shaded", True, 2, 1, False, "*fp32"),
        ("shaded", False, 2, 2, True, "*fp16"),
        ("kd", False, 1, 3, False, "*fp32"),
        ("occlusion", False, 1, 1, True, "*fp32"),
        ("normal", False, 1, 1, False, "*fp32"),
        ("light", False, 1, 1, False, "*fp32"),
        ("depth", False, 2, 1, False, "*fp32"),
        ("distance", False, 1, 1, True, "*fp32"),
    ],
)
def test_frames(channel, nvdiffrec, spp, layers, several, image):
    from render.preview.kernels.preview_triton import resolve

    levels = default_levels(64)
    layout = CubeAtlas([level.resolution for level in levels])
    constants = {
        "SPP": spp, "CHANNEL": "shaded" if channel == "lobes" else channel, "NVDIFFREC": nvdiffrec, "SEVERAL": several,
        "HAS_LOBES": channel == "lobes",
        "HAS_OPENNESS": several, "HAS_ALPHA": layers > 1, "HAS_BACKDROP": layers > 1, "LAYERS": layers,
        "TABLE_SIZE": 256 if nvdiffrec else ggx_table().values.shape[2], "PLACES": layout.places,
        "ATLAS_WIDTH": layout.width, "KNOWN": tuple(level.roughness for level in levels),
    }  # fmt: skip
    assert "st.global" in compiled(
        resolve, constants, warps=2, image=image, background="*fp32" if layers > 1 else "*fp64"
    )
