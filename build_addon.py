"""Build the Blender extension: zips that Blender installs, with the wire protocol and, where wanted, pyzmq inside.

    python build_addon.py [--output DIR] [--wheels bundled|none]

`bundled` (default) makes two zips, since no one pyzmq wheel suits every Blender: one for 4.2.23 to 5.0 (Python 3.11)
and one for 5.1 and later (the stable ABI, from Python 3.12 on), both for the platform this runs on. `none` makes one
zip for every version without wheels, for a Blender whose Python has pyzmq already, such as the module bpy.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

WHEEL_REQUIREMENT = "pyzmq>=26,<28"
LEFT_OUT = {"__pycache__"}


class BuildError(Exception):
    """The extension cannot be built; the message says why and what to do."""


@dataclass(frozen=True)
class Variant:
    """One zip: its name's ending, the versions of Blender it is for, and what of pyzmq it carries."""

    suffix: str
    version_min: str
    version_max: str | None  # exclusive
    python_version: str | None  # None: no wheel
    abi: str | None


BUNDLED = (
    Variant("blender-4.2", "4.2.23", "5.1.0", "3.11", "cp311"),
    Variant("blender-5.1", "5.1.0", None, "3.13", "abi3"),
)
WITHOUT_WHEELS = (Variant("without-wheels", "4.2.23", None, None, None),)


def source_directories() -> tuple[Path, Path]:
    """The folders of the add-on and of the protocol: beside this file, in the checkout as when installed."""
    here = Path(__file__).resolve().parent
    addon, protocol = here / "blender_addon", here / "backend" / "protocol"
    for needed in (addon / "blender_manifest.toml", protocol / "wire.py"):
        if not needed.is_file():
            raise BuildError(f"{needed} is missing. Install PBRfit again, or run this in its source folder.")
    return addon, protocol


def download_wheel(variant: Variant, directory: Path) -> Path:
    """Fetch the pyzmq wheel of a variant for this platform with pip."""
    command = [sys.executable, "-m", "pip", "download", WHEEL_REQUIREMENT, "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", variant.python_version, "--implementation", "cp", "--abi", variant.abi]
    result = subprocess.run(
        [*command, "--quiet", "--disable-pip-version-check", "--dest", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(directory.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        raise BuildError(
            f"pip could not fetch a pyzmq wheel for Python {variant.python_version}: {result.stderr.strip()}\n"
            "Check the network, or build with --wheels none."
        )
    return wheels[0]


def blender_platform(wheel: Path) -> str:
    """Blender's name of the platform that a wheel is for."""
    tag = wheel.stem.rsplit("-", 1)[-1]
    machine = "arm64" if tag.endswith(("arm64", "aarch64")) else "x64"
    system = "windows" if tag.startswith("win") else "macos" if tag.startswith("macosx") else "linux"
    return f"{system}-{machine}"


def variant_manifest(manifest: str, variant: Variant, wheel: Path | None) -> str:
    """The manifest's text with the versions, platforms and wheels of a variant."""
    lines = [f'blender_version_min = "{variant.version_min}"']
    if variant.version_max is not None:
        lines.append(f'blender_version_max = "{variant.version_max}"')
    if wheel is not None:
        lines.append(f'platforms = ["{blender_platform(wheel)}"]')
        lines.append(f'wheels = ["./wheels/{wheel.name}"]')
    changed = ["\n".join(lines) if line.startswith("blender_version_min") else line for line in manifest.splitlines()]
    if changed == manifest.splitlines() and len(lines) > 1:
        raise BuildError("blender_manifest.toml has no line blender_version_min to build on.")
    return "\n".join(changed) + "\n"


def addon_version(manifest: str) -> str:
    """The add-on's version in a manifest's text."""
    return tomllib.loads(manifest)["version"]


def blender_extension_tool() -> Path | None:
    """Blender's own extension tool in an installed bpy, or None where there is none."""
    specification = importlib.util.find_spec("bpy")
    if specification is None or specification.origin is None:
        return None
    tools = Path(specification.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return next(iter(sorted(tools)), None)


def validate(path: Path) -> None:
    """Have Blender's own tool check a zip, where there is a Blender; raises BuildError with what it says."""
    tool = blender_extension_tool()
    if tool is None:
        return
    result = subprocess.run(
        [sys.executable, str(tool), "validate", str(path)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise BuildError(f"Blender refuses {path.name}:\n{result.stdout}{result.stderr}")


def build_variant(variant: Variant, output_directory: Path) -> Path:
    """Build one zip in `output_directory` and return its path."""
    addon, protocol = source_directories()
    manifest = (addon / "blender_manifest.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="pbrfit_build_") as temporary:
        root = Path(temporary) / "pbrfit"
        ignore = shutil.ignore_patterns(*LEFT_OUT, "protocol")
        shutil.copytree(addon, root, ignore=ignore)
        shutil.copytree(protocol, root / "protocol", ignore=shutil.ignore_patterns(*LEFT_OUT))
        wheel = None
        if variant.python_version is not None:
            (root / "wheels").mkdir()
            wheel = download_wheel(variant, root / "wheels")
        (root / "blender_manifest.toml").write_text(variant_manifest(manifest, variant, wheel), encoding="utf-8")
        platform = f"-{blender_platform(wheel)}" if wheel is not None else ""
        path = output_directory / f"pbrfit-{addon_version(manifest)}-{variant.suffix}{platform}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(root).as_posix())
    validate(path)
    return path


def build(output_dir: Path | str, wheels: str = "bundled") -> list[Path]:
    """Build the extension zips into `output_dir` (made where absent) and return their paths.

    wheels: "bundled" or "none". Raises BuildError where sources or wheels are missing or Blender refuses the result.
    """
    if wheels not in {"bundled", "none"}:
        raise BuildError(f'wheels is "{wheels}"; allowed are bundled and none.')
    output_directory = Path(output_dir)
    output_directory.mkdir(parents=True, exist_ok=True)
    variants = BUNDLED if wheels == "bundled" else WITHOUT_WHEELS
    return [build_variant(variant, output_directory) for variant in variants]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the Blender extension PBRfit.")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder for the zips (default: dist)")
    parser.add_argument("--wheels", choices=("bundled", "none"), default="bundled", help="carry pyzmq inside or not")
    arguments = parser.parse_args()
    try:
        for path in build(arguments.output, arguments.wheels):
            print(path)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
