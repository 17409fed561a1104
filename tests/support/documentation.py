"""A copy of the documentation, with empty files where its links lead out of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_documentation(target: Path) -> None:
    """Copy docs/ and MkDocs' files into a folder, from which a site or the manual can be built."""
    shutil.copytree(ROOT / "docs", target / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for config in ROOT.glob("mkdocs*.yml"):
        shutil.copy(config, target)
    for page in (target / "docs").glob("*.md"):
        for name in re.findall(r"\]\(\.\./([^)#]+)", page.read_text(encoding="utf-8")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).touch()
