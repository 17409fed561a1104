"""F1, and Online Manual in the context menu: each setting and button has a page of the manual, and it is there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import webbrowser
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest

import build_addon

bpy = pytest.importorskip("bpy")
from bl_operators.wm import WM_OT_doc_view_manual  # noqa: E402

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def manual(addon) -> Path:
    """The manual in the installed extension; where the zip has none, it is made and put there, and the extension starts again."""
    folder = addon.common.package.shipped_file("manual")
    if folder.is_dir():
        yield folder
        return
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the extension has no manual, and MkDocs is not installed")
    bpy.ops.preferences.addon_disable(module=addon.name)
    for name, content in build_addon.manual_files(ROOT).items():
        (folder.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / name).write_bytes(content)
    bpy.ops.preferences.addon_enable(module=addon.name)
    yield folder
    shutil.rmtree(folder)


def opened(monkeypatch: pytest.MonkeyPatch, doc_id: str) -> str:
    """The page and anchor that Blender opens for what is under the mouse, relative to the manual; "" for no page."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    if doc_id.startswith("PBRFIT_AddonPreferences") and bpy.app.version < (5, 2, 0):
        # Older Blenders do not even ask about these: "Type cannot be found".
        addresses.append(WM_OT_doc_view_manual._lookup_rna_url(f"bpy.types.{doc_id}"))
    else:
        bpy.ops.wm.doc_view_manual(doc_id=doc_id)
    if not any(addresses):
        return ""
    (address,) = addresses
    way = Path(url2pathname(urlparse(address).path))
    assert address.startswith("file:///"), doc_id
    target = re.search(r'content="0; url=([^"#]+)#([^"]+)"', way.read_text(encoding="utf-8"))
    page = (way.parent / target[1]).resolve()
    assert f'id="{target[2]}"' in page.read_text(encoding="utf-8"), doc_id
    return f"{page.name}#{target[2]}"


def settings(addon) -> dict[str, list[str]]:
    """The settings of each of our groups, by its class."""
    bases = (bpy.types.PropertyGroup, bpy.types.AddonPreferences)
    groups = [group for base in bases for group in base.__subclasses__() if group.__module__.startswith(addon.name)]
    unasked = {"rna_type", "name", "bl_idname"}
    return {
        group.__name__: [
            item.identifier for item in group.bl_rna.properties if item.identifier not in unasked and not item.is_hidden
        ]
        for group in groups
    }


def test_every_setting_opens_its_section(addon, monkeypatch):
    found = settings(addon)
    assert {"PBRFIT_FitSettings", "PBRFIT_PreviewSettings", "PBRFIT_PreviewPasses", "PBRFIT_AddonPreferences"} <= set(
        found
    )
    pages = {
        f"{group}.{name}": opened(monkeypatch, f"{group}.{name}") for group, names in found.items() for name in names
    }
    assert len(pages) > 35
    assert {name for name, page in pages.items() if not page} == set()
    wanted = {
        "PBRFIT_FitSettings.views": "first-fit.html#setting-views",
        "PBRFIT_FitSettings.use_ks": "first-fit.html#setting-roughness-and-metallic",
        "PBRFIT_FitSettings.preset": "first-fit.html#settings",
        "PBRFIT_FitSettings.bake_target": "baking.html#targets",
        "PBRFIT_PreviewSettings.show": "preview.html#show",
        "PBRFIT_PreviewPasses.use_kd": "preview.html#f12",
        "PBRFIT_AddonPreferences.torch_choice": "install.html#setting-pytorch",
        "PBRFIT_AddonPreferences.backend_key": "install.html#a-backend-on-another-machine",
    }
    assert {name: pages[name] for name in wanted} == wanted


def test_a_setting_without_a_row_opens_its_groups_section(addon, monkeypatch):
    """Only presets and what another section is about have none."""
    pages = {name: opened(monkeypatch, f"PBRFIT_FitSettings.{name}") for name in settings(addon)["PBRFIT_FitSettings"]}
    assert {name for name, page in pages.items() if "#setting-" not in page} == {"preset", "bake_target"}


def test_every_operator_opens_its_section(monkeypatch):
    pages = {name: opened(monkeypatch, f"pbrfit.{name}") for name in dir(bpy.ops.pbrfit)}
    assert len(pages) > 30
    assert {name for name, page in pages.items() if not page} == set()
    wanted = {
        "optimize": "first-fit.html#three-clicks",
        "bake_maps": "baking.html#bake-maps-what-the-nodes-say",
        "revert": "first-fit.html#then-revert",
        "setup_backend": "install.html#2-the-backend-on-this-machine",
        "show_preview": "preview.html#turn-it-on",
        "unwrap": "texture-space.html#a-new-uv-map",
        "check": "first-fit.html#when-it-looks-wrong",
    }
    assert {name: pages[name] for name in wanted} == wanted
    # As Blender names an operator's own settings, in a file browser for example.
    assert opened(monkeypatch, "PBRFIT_OT_save_maps.directory") == pages["save_maps"]


def test_every_place_that_is_named_is_there_and_used(addon, manual):
    module = addon.ui.manual
    places = {*module.GROUPS.values(), *module.PROPERTIES.values(), *module.OPERATORS.values()}
    assert [place for place in places if not (manual / module.file_of(place)).is_file()] == []
    properties = {f"{group.lower()}.{name}" for group, names in settings(addon).items() for name in names}
    assert set(module.PROPERTIES) <= properties


def test_blenders_own_names_go_to_blenders_manual(addon, monkeypatch):
    _, pages = addon.ui.manual.manual_map()
    assert all(pattern.startswith(("bpy.types.pbrfit_", "bpy.ops.pbrfit.")) for pattern, _ in pages)
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    bpy.ops.wm.doc_view_manual(doc_id="Object.location")
    assert addresses[0].startswith("https://docs.blender.org/")


def test_disabling_takes_the_pages_away(addon, monkeypatch):
    ours = addon.ui.manual.manual_map()
    assert ours in list(bpy.utils.manual_map())
    bpy.ops.preferences.addon_disable(module=addon.name)
    assert ours not in list(bpy.utils.manual_map())
    bpy.ops.preferences.addon_enable(module=addon.name)


def test_an_extension_without_the_manual_asks_nothing(addon, manual, monkeypatch):
    bpy.ops.preferences.addon_disable(module=addon.name)
    kept = manual.rename(manual.with_name("manual_kept"))
    try:
        bpy.ops.preferences.addon_enable(module=addon.name)
        before = [prefix for prefix, _ in bpy.utils.manual_map()]
        bpy.ops.preferences.addon_disable(module=addon.name)
    finally:
        kept.rename(manual)
        bpy.ops.preferences.addon_enable(module=addon.name)
    assert not [prefix for prefix in before if prefix.startswith("file:")]
