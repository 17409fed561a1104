"""The built zips, and that the add-on comes and goes without a trace."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_addon

bpy = pytest.importorskip("bpy")


def manifest_of(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return tomllib.loads(archive.read("blender_manifest.toml").decode())


def test_zip_without_wheels(extension_zip: Path) -> None:
    names = zipfile.ZipFile(extension_zip).namelist()
    assert {"__init__.py", "LICENSE", "protocol/client.py", "protocol/wire.py", "render_references.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".whl")]
    manifest = manifest_of(extension_zip)
    assert manifest["id"] == "pbrfit"
    assert manifest["blender_version_min"] == "4.2.23"
    assert "blender_version_max" not in manifest


def test_bundled_zips(tmp_path: Path) -> None:
    older, newer = build_addon.build(tmp_path, "bundled")
    assert (manifest_of(older)["blender_version_min"], manifest_of(older)["blender_version_max"]) == ("4.2.23", "5.1.0")
    assert manifest_of(newer)["blender_version_min"] == "5.1.0"
    assert "blender_version_max" not in manifest_of(newer)
    for path, tag in ((older, "-cp311-cp311-"), (newer, "-abi3-")):
        (wheel,) = manifest_of(path)["wheels"]
        assert tag in wheel
        assert wheel.removeprefix("./") in zipfile.ZipFile(path).namelist()


def test_wrong_choice_of_wheels(tmp_path: Path) -> None:
    with pytest.raises(build_addon.BuildError, match="allowed are bundled and none"):
        build_addon.build(tmp_path, "some")


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, build_addon.__file__, "--output", str(tmp_path / "new"), "--wheels", "none"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path(result.stdout.strip()).is_file()


def test_blender_refuses_a_broken_manifest(tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("blender_manifest.toml", 'schema_version = "1.0.0"\nid = "pbrfit"\n')
        archive.writestr("__init__.py", "")
    with pytest.raises(build_addon.BuildError, match=r"Blender refuses broken\.zip"):
        build_addon.validate(broken)


def test_what_runs_is_the_installed_zip(addon) -> None:
    import bl_ext.user_default.pbrfit as installed

    assert Path(installed.__file__).is_relative_to(bpy.utils.resource_path("USER"))
    assert "blender_addon" not in sys.modules


def test_disabling_leaves_nothing_behind(addon) -> None:
    def registered() -> list[str]:
        found = [name for name in dir(bpy.types) if name.lower().startswith("pbrfit")]
        found += [name for name in ("pbrfit",) if hasattr(bpy.types.Scene, name)]
        return found + dir(bpy.ops.pbrfit)

    poll_session = addon.operators.poll_session
    assert {"PBRFIT_OT_optimize", "PBRFIT_PT_fit", "pbrfit", "optimize"} <= set(registered())
    addon.operators.start_timer()
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=addon.name)
        assert registered() == []
        assert not bpy.app.timers.is_registered(poll_session)
        bpy.ops.preferences.addon_enable(module=addon.name)
        assert "optimize" in registered()


def test_every_operator_and_setting_has_a_tooltip_in_blenders_style(addon) -> None:
    properties = bpy.context.scene.pbrfit.bl_rna.properties
    settings = [item for item in properties if item.identifier not in {"rna_type", "name"}]
    operators = [getattr(bpy.ops.pbrfit, name).get_rna_type() for name in ("optimize", "cancel", "revert")]
    preferences = [item for item in addon.preferences.bl_rna.properties if item.identifier.startswith("backend_")]
    assert len(settings) == 15
    for item in [*settings, *operators, *preferences]:
        assert item.description, item.identifier
        assert not item.description.endswith("."), item.identifier


def test_resolution_is_rounded_to_a_power_of_two(addon) -> None:
    settings = bpy.context.scene.pbrfit
    for given, kept in ((1000, 1024), (512, 512), (700, 512), (1, 16), (100000, 8192)):
        settings.resolution = given
        assert settings.resolution == kept
