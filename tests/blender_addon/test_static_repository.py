"""The add-on from a static repository of one's own, as docs/publishing.md describes: installed and updated by Blender itself."""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_addon

pytest.importorskip("bpy")
USER = Path(str(importlib.resources.files("support") / "blender" / "repository_user.py"))


def next_version(path: Path, target: Path) -> str:
    """Write an extension's zip again as the version after it, and return that."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    version = tomllib.loads(files["blender_manifest.toml"].decode())["version"]
    newer = f"{version.rpartition('.')[0]}.{int(version.rpartition('.')[2]) + 1}"
    manifest = files["blender_manifest.toml"].replace(
        f'\nversion = "{version}"'.encode(), f'\nversion = "{newer}"'.encode()
    )
    build_addon.write_zip(target, files | {"blender_manifest.toml": manifest})
    return newer


def test_blender_installs_from_the_index_and_updates(extension_zip: Path, tmp_path: Path) -> None:
    repository = tmp_path / "extensions"
    repository.mkdir()
    shutil.copy(extension_zip, repository)
    newer = next_version(extension_zip, tmp_path / "newer.zip")
    generate = [
        sys.executable,
        str(build_addon.blender_extension_tool()),
        "server-generate",
        f"--repo-dir={repository}",
        "--html",
    ]
    subprocess.run(generate, check=True, capture_output=True)
    (entry,) = json.loads((repository / "index.json").read_text(encoding="utf-8"))["data"]
    assert entry["archive_url"] == f"./{extension_zip.name}"
    assert (repository / "index.html").is_file()

    # In the place of the older zip: of two versions in the index Blender may take the older one.
    publish = f"import os, subprocess; os.replace({str(tmp_path / 'newer.zip')!r}, {str(repository / extension_zip.name)!r}); "
    publish += f"subprocess.run({generate!r}, check=True)"
    result = subprocess.run(
        [sys.executable, str(USER), (repository / "index.json").as_uri(), sys.executable, "-c", publish],
        env=os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "user")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120.0,
    )
    assert f"versions {entry['version']} {newer}" in result.stdout.splitlines(), result.stdout + result.stderr
