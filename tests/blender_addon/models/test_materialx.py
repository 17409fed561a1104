"""MaterialX documents of new materials, judged by MaterialX's own package, and by its definitions of the surfaces."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")
KINDS = {
    "mtlx-standard-surface": "standard_surface",
    "mtlx-openpbr": "open_pbr_surface",
    "mtlx-usd": "UsdPreviewSurface",
}
RANDOM = np.random.default_rng(3)
FILES = {
    "kd.png": png(RANDOM.integers(0, 256, (8, 8, 4)).astype(np.uint8)),
    "orm.png": png(RANDOM.integers(0, 256, (8, 8, 3)).astype(np.uint8)),
    "normal.png": png(RANDOM.integers(0, 65536, (8, 8, 3)).astype(np.uint16)),
}


def written(addon, kind: str, path: Path) -> Path:
    """The document of a cube whose color, alpha, occlusion, roughness, metallic and normals are maps."""
    cube = ready_cube()
    assign(addon, FILES, alpha=True)
    kind = addon.protocol.model_kinds.KINDS[kind]
    beside = addon.models.beside.write_maps(kind, [cube.active_material], path)
    path.write_text(addon.models.materialx.document(kind, [cube.active_material], beside), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_materialx_finds_nothing_wrong(addon, tmp_path, kind) -> None:
    materialx = pytest.importorskip("MaterialX")
    library, document = materialx.createDocument(), materialx.createDocument()
    materialx.loadLibraries(materialx.getDefaultDataLibraryFolders(), materialx.getDefaultDataSearchPath(), library)
    materialx.readFromXmlFile(document, str(written(addon, kind, tmp_path / "cube.mtlx")))
    document.setDataLibrary(library)
    assert document.validate() == (True, "")
    (material,) = document.getMaterialNodes()
    (shader,) = materialx.getShaderNodes(material)
    assert shader.getCategory() == KINDS[kind]
    shader.addInput("no_such_input", "string")
    assert not document.validate()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_each_map_is_read_from_beside_the_document(addon, tmp_path, kind) -> None:
    path = written(addon, kind, tmp_path / "cube.mtlx")
    root = ElementTree.parse(path).getroot()
    files = {item.get("value"): item.get("colorspace") for item in root.iter("input") if item.get("type") == "filename"}
    assert len(files) == 6
    assert all((tmp_path / name).is_file() for name in files)
    assert list(files.values()).count("srgb_texture") == 1
    surface = root.find(KINDS[kind])
    outputs = {item.get("name") for item in root.find("nodegraph").findall("output")}
    read = {item.get("output") for item in surface if item.get("output")}
    # Only one of the three surfaces has an input for occlusion.
    assert outputs - read == (set() if kind == "mtlx-usd" else {"out_occlusion"})
    values = {item.get("name"): item.get("value") for item in surface if item.get("value")}
    assert values["ior" if kind == "mtlx-usd" else "specular_IOR" if "standard" in kind else "specular_ior"] == "1.5"


def test_two_names_that_become_one_get_numbers(addon) -> None:
    free_name = addon.models.materialx.free_name
    taken: set[str] = set()
    for name in ("Wood (old)", "Wood [old]", "7"):
        taken.add(free_name(name, taken))
    assert taken == {"Wood__old_", "Wood__old__1", "M_7"}
