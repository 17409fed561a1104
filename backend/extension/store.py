"""The extension as extensions.blender.org accepts it: without what its rules forbid, and checked against them.

Its terms (3.6: all code in Python, no dependence on compiled packages; no redundant files; nothing that is loaded from
elsewhere) and its guidelines (no pip, no changes of sys.path) are summarized in docs/publishing.md.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import PurePosixPath

from backend.extension.archives import BuildError

LEFT_OUT = (
    "command_line/",  # what the command line runs in Blender, from its own copy of the add-on
    "settings/setup_section.py",
    "setup/install.py",
    "setup/pip_output.py",
    "setup/system_python.py",
    "setup/torch_builds.py",
    "ui/operators_setup.py",
)
"""What sets up the backend, and what this extension never uses."""

PERMISSIONS = {
    "files": "Render and bake from a temporary copy of the scene; save maps",
    "network": "Talk to a PBRfit backend that you have started",
}

DOWNLOADERS = {"ensurepip", "ftplib", "http", "pip", "requests", "urllib.request", "urllib3", "venv", "webbrowser"}
"""Modules that fetch, or that install what was fetched. The browser is opened by Blender's own operator."""

OPAQUE = {".dll", ".dylib", ".exe", ".pyc", ".pyd", ".so", ".whl", ".zip"}
LONGEST_TEXT = 64


def files_for_store(files: dict[str, bytes]) -> dict[str, bytes]:
    """The add-on's files without those that the platform's rules forbid."""
    kept = {name: content for name, content in files.items() if not name.startswith(LEFT_OUT)}
    missing = [name for name in LEFT_OUT if not any(path.startswith(name) for path in files)]
    if missing:
        raise BuildError(f"{', '.join(missing)} is no longer there to be left out of the build for the platform.")
    return kept


def manifest_for_store(manifest: str) -> str:
    """The manifest's text with this build's reasons for its permissions."""
    for name, reason in PERMISSIONS.items():
        manifest, count = re.subn(rf'^{name} = ".*"$', f'{name} = "{reason}"', manifest, flags=re.MULTILINE)
        if count != 1:
            raise BuildError(f"blender_manifest.toml has no permission {name} to give a reason for.")
    return manifest


def broken_rules(files: dict[str, bytes]) -> list[str]:
    """What in an extension breaks a rule of the platform that a program can check, a line each."""
    found = [f"{name} cannot be reviewed" for name in files if PurePosixPath(name).suffix.lower() in OPAQUE]
    found += _of_manifest(tomllib.loads(files["blender_manifest.toml"].decode()))
    if "LICENSE" not in files:
        found.append("the license is missing")
    for name, content in files.items():
        if name.endswith(".py"):
            found += [f"{name}: {what}" for what in _of_code(content.decode())]
    return found


def check_rules(files: dict[str, bytes]) -> None:
    """Raise BuildError if an extension breaks a rule of the platform."""
    if found := broken_rules(files):
        raise BuildError("This breaks rules of extensions.blender.org:\n" + "\n".join(found))


def _of_manifest(manifest: dict[str, object]) -> list[str]:
    found = []
    if manifest["license"] != ["SPDX:GPL-3.0-or-later"]:
        found.append("the license is not GPL 3 or later")
    if not manifest.get("copyright"):
        found.append("nobody is named who has the rights")
    if "blender" in f"{manifest['name']} {manifest['id']}".lower():
        found.append('the name has "Blender" in it')
    permissions = manifest["permissions"]
    assert isinstance(permissions, dict)
    for text in (str(manifest["tagline"]), *map(str, permissions.values())):
        if len(text) > LONGEST_TEXT or not text or not text[-1].isalnum():
            found.append(f'"{text}" is longer than {LONGEST_TEXT} characters, or ends with a mark')
    if "wheels" in manifest:
        found.append("it depends on wheels")
    return found


def _of_code(text: str) -> list[str]:
    """What a module has that downloads, installs, runs text, or changes where Python looks for modules."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [f"imports {name.name}" for name in node.names if _is_downloader(name.name)]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
            found += [f"imports {name}" for name in names if _is_downloader(name)][:1]
        elif isinstance(node, ast.Constant) and node.value in {"pip", "ensurepip", "venv"}:
            found.append(f'runs "{node.value}"')
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"exec", "eval"}:
            found.append(f"calls {node.func.id}")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            found.append("uses sys.path")
    return found


def _is_downloader(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in DOWNLOADERS)
