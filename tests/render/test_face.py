"""The renderer's face: names that load on first use, and the documentation's example."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch

import render

ROOT = Path(__file__).parents[2]


def run(code: str) -> list[str]:
    """The words that a fresh interpreter prints for a line of code."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()


def typed_imports() -> dict[str, str]:
    """The names that type checkers see, with their modules."""
    tree = ast.parse(Path(render.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {name.asname or "": node.module or "" for node in block.body for name in node.names}


def test_importing_the_face_imports_nothing_else():
    heavy = "('torch', 'numpy', 'cv2', 'OpenImageIO')"
    assert run(f"import render, sys; dir(render); print(*[name for name in {heavy} if name in sys.modules])") == []
    assert run("import render, sys; print(*[name for name in sys.modules if name.startswith('render.')])") == []


def test_a_name_loads_its_own_module():
    code = "import sys; from render import Camera; print('render.geometry.camera' in sys.modules, 'render.files' in sys.modules)"
    assert run(code) == ["True", "False"]


def test_type_checkers_see_the_names_that_load():
    assert typed_imports() == render._MODULE_OF
    assert set(render.__all__) == set(render._MODULE_OF) <= set(dir(render))


@pytest.mark.parametrize("name", render.__all__)
def test_every_name_is_that_of_its_module(name):
    assert getattr(render, name) is getattr(import_module(render._MODULE_OF[name]), name)


def test_folders_do_not_hide_names():
    assert not {module.name for module in iter_modules(render.__path__)} & set(render.__all__)
    code = "import render.images.render_mesh, render.shading.shade, render.raster.antialias as a; import render as r; "
    assert run(code + "print(r.render_mesh.__name__, r.shade.__name__, r.antialias is a.antialias)") == [
        "render_mesh", "shade", "True",
    ]  # fmt: skip


def test_the_names_that_nvdiffrec_has_are_there():
    names = """EnvironmentLight Texture2D create_trainable load_env save_env_map create_trainable_env_rnd render_mesh render_layer
        shade render_uv interpolate MLPTexture3D compute_tangents prepare_shading_normal diffuse_cubemap specular_cubemap"""
    assert set(names.split()) <= set(render.__all__)


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="module 'render' has no attribute 'nothing'"):
        _ = render.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec("from render import nothing")


def test_the_documentation_s_example_renders_and_learns():
    text = (ROOT / "docs" / "renderer.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example
    found: dict[str, object] = {}
    torch.manual_seed(0)
    exec(example[1], found)
    kd, image, target = found["kd"], found["image"], found["target"]
    assert image.shape == (1, 64, 64, 4)
    assert target[..., 3].mean() > 0.1  # the square is in view
    before = torch.tensor([0.5, 0.5, 0.5]) - torch.tensor([0.8, 0.1, 0.1])
    after = kd.data.detach().mean((0, 1, 2)) - torch.tensor([0.8, 0.1, 0.1])
    assert after.abs().sum() < 0.5 * before.abs().sum()


def test_the_documentation_names_what_exists():
    text = (ROOT / "docs" / "renderer.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "render":
                assert {name.name for name in node.names} <= set(render.__all__)
    for name in re.findall(r"`render\.(\w+)[(`]", text):
        assert name in render.__all__, name
    for path in re.findall(r"`((?:backend|tests)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
    table = text.split("## What is where")[1].split("##")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`[\w.]+`(?:, )?)+) \|", table, re.MULTILINE)
    assert len(rows) >= 10
    for folders, modules in rows:
        for module in re.findall(r"`([\w.]+)`", modules):
            file = f"{module.replace('.', '/')}.py"
            assert any((ROOT / "render" / folder / file).is_file() for folder in re.findall(r"`(\w+)`", folders)), (
                module
            )
