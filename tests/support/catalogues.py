"""The catalogues of translations, and what reads them, without Blender: the add-on's modules for that need none."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "blender_addon" / "translations"


def module(name: str) -> ModuleType:
    """A module of the add-on's folder of translations."""
    spec = importlib.util.spec_from_file_location(f"pbrfit_translations_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


po = module("po")
sentences = module("sentences")
