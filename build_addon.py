"""Build the Blender extension: zips that Blender installs, with the wire protocol, pyzmq, the backend's wheel and the manual.

    python build_addon.py [--output DIR] [--platform NAME ...] [--wheels bundled|none]

`bundled` (default) makes two zips, because no single pyzmq wheel suits every Blender: one for 4.2.23 to 5.0 (Python
3.11) and one for 5.1 and later (the stable ABI, from Python 3.12 on). Each holds the wheels of all platforms (3 MB), and
Blender unpacks its own; `--platform` leaves the others out. pip fetches the wheels; without a network, it takes them from
its cache or from a folder (PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR). `none` makes one zip for every version without pyzmq, for
a Blender whose Python already has it, such as the module bpy.

The manual is what F1 opens in Blender, made of docs/ by MkDocs. Without MkDocs, or from an installed PBRfit, which has no docs/,
the zips are without it.

The same sources, wheels and MkDocs give the same zip, byte for byte.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PYZMQ_VERSION = "27.3.0"
LEFT_OUT = {"__pycache__"}
TIMESTAMP = (2020, 1, 1, 0, 0, 0)
BACKEND_ROOMS = ("backend", "blender_addon", "render")
BACKEND_FOLDER = "backend_wheel"
MANUAL_FOLDER = "manual"

PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64",),
    "macos-x64": ("macosx_11_0_x86_64",),
}
"""Blender's name of each platform, and pip's names of the newest that Blender 4.2 runs on."""

THIRD_PARTY = f"""\
The wheels in this extension hold work of others, under licenses of their own, kept in the folder pyzmq beside this file:

pyzmq {PYZMQ_VERSION}   BSD-3-Clause   https://github.com/zeromq/pyzmq (some lines of Tornado's: Apache-2.0)
libzmq         MPL-2.0        https://github.com/zeromq/libzmq (its source code is there)
libsodium      ISC            https://github.com/jedisct1/libsodium

The folder {BACKEND_FOLDER} holds PBRfit's own backend, a separate program that is installed only if the user asks for it:
Apache-2.0, except for its copy of this add-on.
"""

COPYRIGHTS = (
    "2009-2012 Brian Granger, Min Ragan-Kelley and PyZMQ Developers (pyzmq)",
    "2009 Facebook (lines of Tornado in pyzmq)",
    "2007-2016 Contributors as noted in the AUTHORS file (libzmq)",
    "2013-2026 Frank Denis (libsodium)",
)
"""Who else has rights in an extension with wheels, in the manifest's form."""


class BuildError(Exception):
    """The extension cannot be built; the message says why, and what to do."""


@dataclass(frozen=True)
class Wheels:
    """The pyzmq wheels of a zip, as pip chooses them."""

    python_version: str
    abi: str


@dataclass(frozen=True)
class Variant:
    """One zip: the ending of its name, the versions of Blender that it is for, and the pyzmq wheels in it."""

    suffix: str
    version_min: str
    version_max: str | None  # exclusive
    wheels: Wheels | None


BUNDLED = (
    Variant("blender-4.2", "4.2.23", "5.1.0", Wheels("3.11", "cp311")),
    Variant("blender-5.1", "5.1.0", None, Wheels("3.13", "abi3")),
)
WITHOUT_WHEELS = (Variant("without-wheels", "4.2.23", None, None),)


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


# The wheels of pyzmq ------------------------------------------------------------------------------------------------


def download_wheel(wanted: Wheels, platform_name: str, directory: Path) -> None:
    """Fetch the pyzmq wheel for a platform into `directory` with pip; does nothing if it is there already."""
    command = [sys.executable, "-m", "pip", "download", f"pyzmq=={PYZMQ_VERSION}", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", wanted.python_version, "--implementation", "cp", "--abi", wanted.abi]
    command += [part for tag in PLATFORMS[platform_name] for part in ("--platform", tag)]
    result = subprocess.run(
        [*command, "--quiet", "--disable-pip-version-check", "--dest", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise BuildError(
            f"pip could not fetch a pyzmq wheel for Python {wanted.python_version} on {platform_name}: "
            f"{result.stderr.strip()}\nCheck the network, or build with --wheels none."
        )


def download_wheels(wanted: Wheels, platforms: Sequence[str], directory: Path) -> list[Path]:
    """Fetch the pyzmq wheels for some platforms; there may be fewer wheels, because one may serve two platforms (macOS)."""

    def fetch(platform_name: str) -> list[Path]:
        # One folder for each: two pips that fetch the same file must not write to the same folder.
        folder = directory / platform_name
        download_wheel(wanted, platform_name, folder)
        return sorted(folder.glob("*.whl"))

    with ThreadPoolExecutor(len(platforms)) as pool:
        found = {wheel.name: wheel for wheels in pool.map(fetch, platforms) for wheel in wheels}
    return [found[name] for name in sorted(found)]


def licence_files(wheel: Path) -> dict[str, bytes]:
    """The licenses in a pyzmq wheel, by their path in the extension."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "/licenses/" in name and not name.endswith("/")]
        found = {f"licenses/pyzmq/{name.rsplit('/', 1)[-1]}": archive.read(name) for name in names}
    wanted = ("LICENSE.md", "LICENSE.zeromq.txt", "LICENSE.libsodium.txt")
    missing = [name for name in wanted if f"licenses/pyzmq/{name}" not in found]
    if missing:
        raise BuildError(f"{wheel.name} lacks the licenses {', '.join(missing)}, without which nobody may pass it on.")
    return found | {"licenses/README.txt": THIRD_PARTY.encode()}


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
    record = [f"{name},sha256={_wheel_hash(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    with tempfile.TemporaryFile() as stream:
        write_zip(stream, files)
        stream.seek(0)
        return f"pbrfit-{version}-py3-none-any.whl", stream.read()


def _wheel_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


# The manual ---------------------------------------------------------------------------------------------------------


def manual_files(root: Path) -> dict[str, bytes]:
    """The pages that F1 opens, and their pictures, by their path in the extension; without MkDocs none, and a line on stderr."""
    config = root / "mkdocs-manual.yml"
    if not config.is_file() or importlib.util.find_spec("mkdocs") is None:
        lacking = "MkDocs (pip install mkdocs)" if config.is_file() else f"the documentation, which is not in {root}"
        print(f"build_addon: without the manual that F1 opens in Blender: there is no {lacking}", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory(prefix="pbrfit_manual_") as temporary:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
        result = subprocess.run(
            [*command, "--site-dir", temporary], capture_output=True, text=True, check=False, cwd=root
        )
        if result.returncode != 0:
            raise BuildError(f"MkDocs could not make the manual:\n{result.stdout}{result.stderr}")
        folder = Path(temporary)
        pages = sorted([*folder.glob("*.html"), *folder.glob("to/*.html"), *folder.glob("*.css")])
        shown = {name for page in pages for name in re.findall(r'src="([^"]+)"', page.read_text(encoding="utf-8"))}
        wanted = [*pages, *(folder / name for name in sorted(shown))]
        return {f"{MANUAL_FOLDER}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in wanted}


# The zip ------------------------------------------------------------------------------------------------------------


def write_zip(target: Path | IO[bytes], files: dict[str, bytes]) -> None:
    """Write files to a zip (a path or an open file), sorted by name and without today's date."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # not the system that runs this
            # A wheel is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])


def variant_manifest(manifest: str, variant: Variant, platforms: Sequence[str], wheels: Iterable[Path]) -> str:
    """The manifest's text with the versions, platforms and wheels of a variant, and whose the wheels are."""
    lines = [f'blender_version_min = "{variant.version_min}"']
    if variant.version_max is not None:
        lines.append(f'blender_version_max = "{variant.version_max}"')
    names = [wheel.name for wheel in wheels]
    if names:
        lines.append("platforms = [" + ", ".join(f'"{name}"' for name in platforms) + "]")
        lines += ["wheels = [", *(f'  "./wheels/{name}",' for name in names), "]"]
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


def build_variant(variant: Variant, platforms: Sequence[str], manual: dict[str, bytes], output_directory: Path) -> Path:
    """Build one zip in `output_directory` and return its path."""
    root = source_directory()
    manifest = (root / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8")
    addon = {
        name.removeprefix("blender_addon/"): content for name, content in room_files(root, "blender_addon").items()
    }
    protocol = {
        name.removeprefix("backend/"): content for name, content in room_files(root, "backend/protocol").items()
    }
    files = {name: content for name, content in addon.items() if not name.startswith("protocol/")} | protocol
    wheel_name, wheel_content = backend_wheel(root)
    files[f"{BACKEND_FOLDER}/{wheel_name}"] = wheel_content
    files |= manual
    with tempfile.TemporaryDirectory(prefix="pbrfit_build_") as temporary:
        wheels = [] if variant.wheels is None else download_wheels(variant.wheels, platforms, Path(temporary))
        for wheel in wheels:
            files[f"wheels/{wheel.name}"] = wheel.read_bytes()
            files |= licence_files(wheel)
        files["blender_manifest.toml"] = variant_manifest(manifest, variant, platforms, wheels).encode()
    chosen = f"-{'-'.join(platforms)}" if wheels and set(platforms) != set(PLATFORMS) else ""
    path = output_directory / f"pbrfit-{addon_version(manifest)}-{variant.suffix}{chosen}.zip"
    write_zip(path, files)
    validate(path)
    return path


def build(
    output_dir: Path | str,
    wheels: str = "bundled",
    platforms: Sequence[str] = tuple(PLATFORMS),
    with_manual: bool = True,
) -> list[Path]:
    """Build the extension zips into `output_dir` (created if needed) and return their paths.

    wheels: "bundled" or "none"; platforms: names from PLATFORMS, whose pyzmq wheels to bundle; with_manual: False where
    nobody will press F1. Raises BuildError if sources or wheels are missing, or if Blender refuses the result.
    """
    if wheels not in {"bundled", "none"}:
        raise BuildError(f'wheels is "{wheels}"; allowed are bundled and none.')
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms:
        raise BuildError(f'There are no wheels for "{", ".join(unknown)}"; allowed are {", ".join(PLATFORMS)}.')
    output_directory = Path(output_dir)
    output_directory.mkdir(parents=True, exist_ok=True)
    variants = BUNDLED if wheels == "bundled" else WITHOUT_WHEELS
    manual = manual_files(source_directory()) if with_manual else {}
    return [build_variant(variant, platforms, manual, output_directory) for variant in variants]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the Blender extension PBRfit.")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder for the zips (default: dist)")
    parser.add_argument(
        "--wheels", choices=("bundled", "none"), default="bundled", help="put pyzmq into the zips, or not"
    )
    parser.add_argument(
        "--platform",
        action="append",
        choices=tuple(PLATFORMS),
        help="include pyzmq for this platform only; can be given several times (default: all)",
    )
    chosen = parser.parse_args()
    try:
        paths = build(chosen.output, chosen.wheels, chosen.platform or tuple(PLATFORMS))
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
