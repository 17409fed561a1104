"""Build the Blender extension: a zip that Blender installs, with the wire protocol, pyzmq, the backend's wheel and the manual.

    python build_addon.py [--output DIR] [--platform NAME ...] [--wheels bundled|none | --for-store] [--website URL]

`bundled` (default) makes one zip for Blender 4.2.23 and later, whatever Python it has: the wheels of pyzmq in it suit them all
(backend/extension/pyzmq_wheels.py says how). It holds the wheels of all platforms (4 MB), and Blender unpacks its own;
`--platform` leaves the others out. pip fetches the wheels; without a network, it takes them from
its cache or from a folder (PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR). `none` makes a zip without pyzmq, for
a Blender whose Python already has it, such as the module bpy.

`--for-store` makes one that keeps to the rules of extensions.blender.org: without pyzmq, and without all that sets up the
backend (backend/extension/store.py). Bake Maps is all that works by itself.

`--website` is the address that Blender shows with the extension; docs/publishing.md says how to set it once, for the manual and
the documentation too.

The manual is what F1 opens in Blender, made of docs/ by MkDocs. Without MkDocs, or from an installed PBRfit, which has no docs/,
the zip is without it.

The same sources, wheels and MkDocs give the same zip, byte for byte.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from backend.extension.archives import BuildError, with_record, write_zip
from backend.extension.pyzmq_wheels import COPYRIGHTS, PLATFORMS, fetch_wheels, licence_files
from backend.extension.store import check_rules, files_for_store, manifest_for_store

LEFT_OUT = {"__pycache__"}
BACKEND_ROOMS = ("backend", "blender_addon", "render")
BACKEND_FOLDER = "backend_wheel"
MANUAL_FOLDER = "manual"


def this_platform() -> str:
    """Blender's name of this platform, such as linux-x64."""
    systems = {"darwin": "macos"}
    machines = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
    system, machine = platform.system().lower(), platform.machine().lower()
    return f"{systems.get(system, system)}-{machines.get(machine, machine)}"


def source_directory() -> Path:
    """The folder of the rooms: the folder of this file, in the checkout and when installed."""
    here = Path(__file__).resolve().parent
    for needed in ("blender_addon/blender_manifest.toml", "backend/protocol/wire.py", "render/geometry/mesh.py"):
        if not (here / needed).is_file():
            raise BuildError(f"{here / needed} is missing. Install PBRfit again, or run this in its source folder.")
    return here


# The wheel of the backend -------------------------------------------------------------------------------------------


def core_metadata(root: Path) -> tuple[str, str]:
    """The version of PBRfit and the text of its package metadata, from the sources or the installed package."""
    project_file = root / "pyproject.toml"
    if project_file.is_file():
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        version, python, requirements = project["version"], project["requires-python"], project["dependencies"]
    else:
        installed = importlib.metadata.metadata("pbrfit")
        version, python = installed["Version"], installed["Requires-Python"]
        requirements = [line for line in installed.get_all("Requires-Dist") or [] if "extra ==" not in line]
    lines = ["Metadata-Version: 2.1", "Name: pbrfit", f"Version: {version}", f"Requires-Python: {python}"]
    lines.append("License: Apache-2.0 AND GPL-3.0-or-later")
    return version, "\n".join([*lines, *(f"Requires-Dist: {line}" for line in requirements)]) + "\n"


def room_files(root: Path, room: str) -> dict[str, bytes]:
    """The files of a room by their path from `root`, except those that Python or an editor created."""
    wanted = {".py", ".toml", ".cu", ".cpp", ".h", ".glsl", ".npy", ".po"}
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / room).rglob("*"))
        if path.is_file() and (path.suffix in wanted or path.name == "LICENSE") and not LEFT_OUT & set(path.parts)
    }


def backend_wheel(root: Path) -> tuple[str, bytes]:
    """The name and the bytes of the wheel of PBRfit itself, which "Set Up Backend" installs.

    No build tool makes it: it is plain Python, so this way needs no network and gives the same bytes each time.
    """
    version, metadata = core_metadata(root)
    files = {"build_addon.py": (root / "build_addon.py").read_bytes()}
    for room in BACKEND_ROOMS:
        files |= room_files(root, room)
    info = f"pbrfit-{version}.dist-info"
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: pbrfit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\npbrfit = backend.cli.main:main\n"
    if (root / "LICENSE").is_file():
        files[f"{info}/licenses/LICENSE"] = (root / "LICENSE").read_bytes()
    else:
        found = [path for path in importlib.metadata.files("pbrfit") or [] if path.match("licenses/LICENSE")]
        files[f"{info}/licenses/LICENSE"] = found[0].read_binary()
    with tempfile.TemporaryFile() as stream:
        write_zip(stream, with_record(files, info))
        stream.seek(0)
        return f"pbrfit-{version}-py3-none-any.whl", stream.read()


# The manual ---------------------------------------------------------------------------------------------------------


def manual_files(root: Path, website: str = "") -> dict[str, bytes]:
    """The pages that F1 opens, and their pictures, by their path in the extension; without MkDocs none, and a line on stderr.

    website: an address in place of the project's.
    """
    config = root / "mkdocs-manual.yml"
    if not config.is_file() or importlib.util.find_spec("mkdocs") is None:
        lacking = "MkDocs (pip install mkdocs)" if config.is_file() else f"the documentation, which is not in {root}"
        print(f"build_addon: without the manual that F1 opens in Blender: there is no {lacking}", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory(prefix="pbrfit_manual_") as temporary:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
        result = subprocess.run(
            [*command, "--site-dir", temporary],
            capture_output=True,
            text=True,
            check=False,
            cwd=root,
            env=os.environ | ({"PBRFIT_WEBSITE": website} if website else {}),
        )
        if result.returncode != 0:
            raise BuildError(f"MkDocs could not make the manual:\n{result.stdout}{result.stderr}")
        folder = Path(temporary)
        pages = sorted([*folder.glob("*.html"), *folder.glob("to/*.html"), *folder.glob("*.css")])
        shown = {name for page in pages for name in re.findall(r'src="([^"]+)"', page.read_text(encoding="utf-8"))}
        wanted = [*pages, *(folder / name for name in sorted(shown))]
        return {f"{MANUAL_FOLDER}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in wanted}


# The zip ------------------------------------------------------------------------------------------------------------


def written_manifest(manifest: str, platforms: Sequence[str], wheels: Sequence[Path], website: str = "") -> str:
    """The manifest's text with the platforms and the wheels of a zip, whose the wheels are, and the website, if there is one."""
    names = [wheel.name for wheel in wheels]
    lines = [f'blender_version_min = "{tomllib.loads(manifest)["blender_version_min"]}"']
    if names:
        lines.append("platforms = [" + ", ".join(f'"{name}"' for name in platforms) + "]")
        lines += ["wheels = [", *(f'  "./wheels/{name}",' for name in names), "]"]
    if website:
        lines.append(f"website = {json.dumps(website)}")
    changed = {"blender_version_min": "\n".join(lines)}
    if names:
        holders = [*tomllib.loads(manifest)["copyright"], *COPYRIGHTS]
        changed["copyright"] = "\n".join(["copyright = [", *(f"  {json.dumps(name)}," for name in holders), "]"])
    written = [line.partition(" = ")[0] for line in manifest.splitlines()]
    missing = [name for name in changed if name not in written]
    if missing:
        raise BuildError(f"blender_manifest.toml has no line {' and '.join(missing)} to build on.")
    kept = zip(written, manifest.splitlines(), strict=True)
    return "\n".join(changed.get(name, line) for name, line in kept) + "\n"


def addon_version(manifest: str) -> str:
    """The add-on's version in a manifest's text."""
    return str(tomllib.loads(manifest)["version"])


def blender_extension_tool() -> Path | None:
    """Blender's own extension tool in an installed bpy, or None if there is none."""
    specification = importlib.util.find_spec("bpy")
    if specification is None or specification.origin is None:
        return None
    tools = Path(specification.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return next(iter(sorted(tools)), None)


def validate(path: Path) -> None:
    """Check a zip with Blender's own tool, if there is a Blender; raises BuildError with the tool's message."""
    tool = blender_extension_tool()
    if tool is None:
        return
    result = subprocess.run(
        [sys.executable, str(tool), "validate", str(path)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise BuildError(f"Blender refuses {path.name}:\n{result.stdout}{result.stderr}")


def addon_files(root: Path) -> dict[str, bytes]:
    """The add-on and the wire protocol, by their path in the extension."""
    addon = {
        name.removeprefix("blender_addon/"): content for name, content in room_files(root, "blender_addon").items()
    }
    protocol = {
        name.removeprefix("backend/"): content for name, content in room_files(root, "backend/protocol").items()
    }
    return {name: content for name, content in addon.items() if not name.startswith("protocol/")} | protocol


def build(
    output_dir: Path | str,
    wheels: str = "bundled",
    platforms: Sequence[str] = tuple(PLATFORMS),
    with_manual: bool = True,
    website: str = "",
) -> Path:
    """Build the extension's zip in `output_dir` (created if needed) and return its path.

    wheels: "bundled" or "none"; platforms: names from PLATFORMS, whose pyzmq wheels to bundle; with_manual: False where
    nobody will press F1; website: its address; empty: that of the project, if it has one. Raises BuildError if sources or
    wheels are missing, or if Blender refuses the result.
    """
    if wheels not in {"bundled", "none"}:
        raise BuildError(f'wheels is "{wheels}"; allowed are bundled and none.')
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms:
        raise BuildError(f'There are no wheels for "{", ".join(unknown)}"; allowed are {", ".join(PLATFORMS)}.')
    root = source_directory()
    files = addon_files(root) | (manual_files(root, website) if with_manual else {})
    wheel_name, wheel_content = backend_wheel(root)
    files[f"{BACKEND_FOLDER}/{wheel_name}"] = wheel_content
    bundled: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="pbrfit_build_") as temporary:
        if wheels == "bundled":
            bundled = fetch_wheels(platforms, Path(temporary))
        for wheel in bundled:
            files[f"wheels/{wheel.name}"] = wheel.read_bytes()
            files |= licence_files(wheel)
    manifest = source_manifest(root)
    files["blender_manifest.toml"] = written_manifest(
        manifest, platforms, bundled, website or project_website(root)
    ).encode()
    chosen = "-without-wheels" if not bundled else ""
    if bundled and set(platforms) != set(PLATFORMS):
        chosen = f"-{'-'.join(platforms)}"
    return write_extension(Path(output_dir) / f"pbrfit-{addon_version(manifest)}{chosen}.zip", files)


def build_for_store(output_dir: Path | str, with_manual: bool = True, website: str = "") -> Path:
    """Build the zip for extensions.blender.org, as `build` does. Raises BuildError also if it breaks a rule of the platform."""
    root = source_directory()
    manifest = source_manifest(root)
    files = files_for_store(addon_files(root)) | (manual_files(root, website) if with_manual else {})
    written = written_manifest(manifest_for_store(manifest), (), (), website or project_website(root))
    files["blender_manifest.toml"] = written.encode()
    check_rules(files)
    return write_extension(Path(output_dir) / f"pbrfit-{addon_version(manifest)}-for-store.zip", files)


def source_manifest(root: Path) -> str:
    """The text of the manifest in the sources."""
    return (root / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8")


def project_website(root: Path) -> str:
    """The project's address by its package metadata (Homepage in `[project.urls]`); empty if it has none."""
    project_file = root / "pyproject.toml"
    if project_file.is_file():
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        return str(project.get("urls", {}).get("Homepage", ""))
    named = [line.partition(", ") for line in importlib.metadata.metadata("pbrfit").get_all("Project-URL") or []]
    return next((address for label, _, address in named if label == "Homepage"), "")


def write_extension(path: Path, files: dict[str, bytes]) -> Path:
    """Write the zip, let Blender's own tool judge it, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_zip(path, files)
    validate(path)
    return path


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the Blender extension PBRfit.")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder for the zip (default: dist)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--wheels", choices=("bundled", "none"), default="bundled", help="put pyzmq into the zip, or not"
    )
    kinds.add_argument("--for-store", action="store_true", help="keep to the rules of extensions.blender.org")
    parser.add_argument(
        "--platform",
        action="append",
        choices=tuple(PLATFORMS),
        help="include pyzmq for this platform only; can be given several times (default: all)",
    )
    parser.add_argument(
        "--website", default="", metavar="URL", help="shown with the extension (default: the project's)"
    )
    chosen = parser.parse_args()
    if chosen.for_store and chosen.platform:
        parser.error("--platform is about the wheels, of which --for-store has none")
    try:
        if chosen.for_store:
            path = build_for_store(chosen.output, website=chosen.website)
        else:
            path = build(chosen.output, chosen.wheels, chosen.platform or tuple(PLATFORMS), website=chosen.website)
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
