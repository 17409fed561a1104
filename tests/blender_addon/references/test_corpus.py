"""Every scene of the corpus is either refused before the fit, with a cause and a cure, or exported; and nothing changes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

bpy = pytest.importorskip("bpy")
from scenes import corpus  # noqa: E402 (it needs bpy)
from support.blender import file_fingerprint  # noqa: E402 (it needs bpy)

# Simulations write into their caches when they are read, as they do whenever Blender shows them.
READ_CHANGES = ("point_cache", "is_cache_baking", "cache_frame")


@pytest.fixture
def part(installed_extension: str) -> Callable[[str], Any]:
    """Modules of the add-on by name, in an empty file; quicker than the fixture `addon`, since there are hundreds of scenes."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=installed_extension)
    preferences = bpy.context.preferences.addons[installed_extension].preferences
    preferences.backend_python = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
    return lambda name: importlib.import_module(f"{installed_extension}.{name}")


def changes(before: dict, after: dict) -> list[str]:
    lines = file_fingerprint.differences(before, after)
    return [line for line in lines if not any(word in line for word in READ_CHANGES)]


@pytest.mark.parametrize("name", corpus.CORPUS)
def test_a_scene_is_refused_with_its_reason_or_exported(part, name: str, tmp_path: Path) -> None:
    checks, prepare = part("preflight.checks"), part("session.prepare")
    corpus.build(name)
    before = file_fingerprint.fingerprint()
    findings = checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())
    for finding in findings:
        assert finding.cause.strip(), finding
        assert finding.cure.strip(), finding
    if not checks.errors_of(findings):
        fits = prepare.prepare_fits(bpy.context, tmp_path, lambda _share: None)
        assert len(fits) == 1
    assert changes(before, file_fingerprint.fingerprint()) == []
